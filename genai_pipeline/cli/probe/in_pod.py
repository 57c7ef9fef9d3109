"""Runs in a pod of `genai doctor --probe`, in the agent's image: what the pod reaches, and what its keys may do.

The text of this file is the command of the pod. So it imports nothing of this package. Its answers are the pod's
termination message: no log is read, and nothing has to listen.
"""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

ANSWER = "/dev/termination-log"
LONGEST_WHY = 400
"""Of each answer: kubelet keeps 4096 bytes. Source: Kubernetes API reference, `terminationMessagePath`."""
PATIENCE_S = 8


def reach(url: str) -> dict[str, str]:
    """Return which step on the way to an address fails, and why; nothing where it answers."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.getaddrinfo(parts.hostname, port)
    except OSError as error:
        return {"step": "name", "why": str(error)[:LONGEST_WHY]}
    try:
        socket.create_connection((parts.hostname, port), PATIENCE_S).close()
    except OSError as error:
        return {"step": "connection", "why": str(error)[:LONGEST_WHY]}
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE_S).close()
    except urllib.error.HTTPError:
        return {}  # it answers
    except OSError as error:
        return {"step": "answer", "why": str(getattr(error, "reason", error))[:LONGEST_WHY]}
    return {}


def use_bucket(bucket: str, prefix: str, key: str) -> dict[str, str]:
    """Return what of listing, reading and writing fails. `key`: of what is written and deleted; empty: nothing is."""
    step = "use"
    try:
        s3 = _client()
        step = "list"
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("Contents")
        step = "write"
        if key:
            s3.put_object(Bucket=bucket, Key=key, Body=b"probe")
            s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            s3.delete_object(Bucket=bucket, Key=key)
        step = "read"
        if found:
            s3.get_object(Bucket=bucket, Key=found[0]["Key"], Range="bytes=0-0")["Body"].read()
    except Exception as error:
        said: dict[str, Any] = getattr(error, "response", {}).get("Error", {})
        code = str(said.get("Code") or type(error).__name__)
        return {"step": step, "code": code, "why": str(said.get("Message") or error)[:LONGEST_WHY]}
    return {} if found or key else {"step": "nothing to read"}


def _client() -> Any:
    from boto3.session import Session
    from botocore.config import Config

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        connect_timeout=PATIENCE_S,
        read_timeout=PATIENCE_S,
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path" if endpoint else "virtual"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return Session().client("s3", region_name=os.environ.get("AWS_REGION"), endpoint_url=endpoint, config=config)


def main() -> None:
    """Answer the questions of the environment."""
    asked = json.loads(os.environ["GENAI_PROBE"])
    answers = {url: reach(url) for url in asked["urls"]}
    bucket = asked.get("bucket")
    if bucket and not answers.get(bucket["url"]):
        answers["bucket"] = use_bucket(bucket["name"], bucket["prefix"], bucket["key"])
    with open(ANSWER, "w") as file:
        file.write(json.dumps(answers))


if __name__ == "__main__":
    main()

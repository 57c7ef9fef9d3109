"""S3, the hub and the weather as pods see them: by their DNS, through their policies, with their credentials."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.cli.probe import in_pod
from genai_pipeline.cli.probe.image_probe import ImageUse
from genai_pipeline.cli.probe.probe_jobs import Seen
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.cluster.pods import Object, has_ended
from genai_pipeline.k8s.agent import sessions_url
from genai_pipeline.k8s.network import MEMORY

PUBLIC_HUB = "https://huggingface.co"
STAGED = "models/"
"""Below it are the staged models. Engines may read nothing else."""
ABSENT = ("NoSuchBucket", "NoSuchKey", "404")
IN_MODELS_ROLE = "The account genai-engine needs a role that may list the bucket and read `models/`"
IN_AGENTS_ROLE = "The account genai-agent needs a role that may list, read and write `sessions/`"


@dataclass(frozen=True)
class Reach:
    """What one kind of pod is asked.

    Args:
        component: the label that network policies know the pods by: engine, agent or pipeline.
        pod, container: the spec of such a pod and its container, whose account and environment the probe has.
        urls: address -> what it is.
        bucket: what `in_pod.use_bucket` is asked, or None.
        secret: the Secret with its keys, or empty where it needs none.
    """

    component: str
    who: str
    pod: Object
    container: Object
    urls: Mapping[str, str]
    bucket: Mapping[str, str] | None
    secret: str

    @property
    def env(self) -> list[Any]:
        """Return the variables of the probe's pod: those of the store as the container has them, and the questions."""
        store = [e for e in self.container.get("env") or [] if e["name"].startswith("AWS_")]
        asked = json.dumps({"urls": list(self.urls), "bucket": self.bucket})
        return [*store, {"name": "GENAI_PROBE", "value": asked}]


def reaches(uses: Sequence[ImageUse], profile: Profile, asks_hub: bool) -> list[Reach]:
    """Return the questions: of an engine, an agent and the pipeline, as far as the models have them."""
    s3 = profile.pods_s3_endpoint or f"https://s3.{profile.region}.amazonaws.com"
    store = "" if profile.has_pod_identity else "store-access"
    found: list[Reach] = []
    if engine := next((u for u in uses if u.component == "engine"), None):
        bucket = {"url": s3, "name": profile.bucket, "prefix": STAGED, "key": ""}
        found.append(Reach("engine", "engines", engine.pod, engine.container, {s3: "S3"}, bucket, store))
    if agent := next((u for u in uses if u.component == "agent"), None):
        place = sessions_url("genai-doctor", profile)
        keeps = place != MEMORY
        where = urlsplit(place)
        prefix = f"{where.path.strip('/')}/"
        bucket = {"url": s3, "name": where.netloc, "prefix": prefix, "key": f"{prefix}probe-{secrets.token_hex(4)}"}
        urls = {profile.weather_url: "the weather service"} | ({s3: "S3"} if keeps else {})
        own = profile.agent_store_secret or store
        found.append(Reach("agent", "agents", agent.pod, agent.container, urls, bucket if keeps else None, own))
    if asks_hub:
        hub = {profile.hub_endpoint or PUBLIC_HUB: "the hub"}
        anywhere = agent or engine
        if anywhere:
            pod = {key: value for key, value in anywhere.pod.items() if key != "serviceAccountName"}
            found.append(Reach("pipeline", "a pipeline in this cluster", pod, {}, hub, None, ""))
    return found


def command() -> list[str]:
    return ["python3", "-c", Path(in_pod.__file__).read_text(encoding="utf-8")]


def answers_of(seen: Seen) -> Mapping[str, Any] | None:
    """Return what the pod answered, or None for nothing."""
    ended = (seen.container.get("state") or {}).get("terminated") or {}
    try:
        said = json.loads(ended.get("message") or "")
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def is_answered(seen: Seen) -> bool:
    return (seen.pod is not None and has_ended(seen.pod)) or bool(seen.cause and seen.cause.final)


def lacks_keys(reach: Reach, seen: Seen) -> bool:
    """Return whether the pod found no keys at all: the Secret of the first rollout is not there yet."""
    said = (answers_of(seen) or {}).get("bucket") or {}
    return bool(reach.secret) and said.get("code") == "NoCredentialsError"


def reach_findings(reach: Reach, image: str, node: str, seen: Seen, profile: Profile) -> Iterator[Finding]:
    """Yield what one kind of pod reaches."""
    answers = answers_of(seen)
    if answers is None:
        why = seen.cause.what if seen.cause else seen.said or "its pod did not answer in time"
        what = f"{reach.who}: what their pods reach was not tried with {image} on node {node}: {why}"
        yield Finding("warn", what, seen.cause.remedy if seen.cause else "Run this again.")
        return
    for url, thing in reach.urls.items():
        if failed := answers.get(url):
            yield _unreached(reach, url, thing, failed)
        elif not (reach.bucket and url == reach.bucket["url"]):
            yield Finding("ok", f"{reach.who}: their pods reach {thing} at {url}")
        else:
            yield _of_bucket(reach, url, answers.get("bucket") or {}, profile)


def _unreached(reach: Reach, url: str, thing: str, failed: Mapping[str, str]) -> Finding:
    host = urlsplit(url).hostname
    setting = {"S3": "GENAI_PODS_S3_ENDPOINT", "the hub": "HF_ENDPOINT"}.get(thing, "WEATHER_URL")
    said = {
        "name": (f"pods do not know the name {host}", f"Set {setting} to the address as pods know it."),
        "connection": (
            f"pods get no connection to {url}",
            f"Check {setting}, the network policies and the firewall: pods ask it at this address.",
        ),
    }
    what, remedy = said.get(failed["step"], (f"{url} does not answer pods as it should", f"Check {setting}, and TLS."))
    if reach.component == "pipeline":
        return Finding(
            "warn", f"{reach.who}: {what}: {failed['why']}", f"{remedy} A pipeline elsewhere does not need it."
        )
    return Finding("fail", f"{reach.who}: {what}: {failed['why']}", remedy)


def _of_bucket(reach: Reach, url: str, said: Mapping[str, str], profile: Profile) -> Finding:
    assert reach.bucket is not None
    bucket, place = reach.bucket["name"], f"{reach.bucket['prefix']} of bucket {reach.bucket['name']} at {url}"
    match said.get("step"):
        case None:
            verbs = "read and write" if reach.bucket["key"] else "read"
            return Finding("ok", f"{reach.who}: their pods may {verbs} {place}")
        case "nothing to read":
            return Finding(
                "ok", f"{reach.who}: their pods may list {place}. Nothing is staged yet that they could read"
            )
        case _:
            pass
    why = f"{said.get('code')}: {said.get('why')}"
    if said.get("code") in ABSENT:
        what = f"{reach.who}: there is no bucket {bucket} at {url} as pods see it ({why})"
        return Finding("fail", what, "Create it, or correct GENAI_BUCKET or GENAI_PODS_S3_ENDPOINT.")
    return Finding(
        "fail", f"{reach.who}: their pods may not {said['step']} {place} ({why})", _keys_remedy(reach, profile)
    )


def _keys_remedy(reach: Reach, profile: Profile) -> str:
    role = IN_AGENTS_ROLE if reach.component == "agent" else IN_MODELS_ROLE
    if profile.has_pod_identity and not reach.secret:
        return f"{role}, by a Pod Identity association; see docs/kubernetes.md."
    return f"Correct the keys of the Secret {reach.secret}, or what they may do. A rollout writes `store-access`."

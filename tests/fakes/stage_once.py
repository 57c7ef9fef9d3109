"""Stage one made-up revision into a real S3, as a process that can be killed: `stage_once.py <bucket> <content>`."""

import sys

from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.staging.stager import Stager
from tests.fakes.weights import safetensors_of
from tests.fakes.world import FakeHub

PART = 5 * 1024 * 1024  # the smallest part that S3 takes


def files(content: str) -> dict[str, bytes]:
    """Two files of several parts and two small ones."""
    body = content.encode()
    return {
        "config.json": b"{}",
        "model-1.safetensors": safetensors_of(2 * PART + 7, body),
        "model-2.safetensors": safetensors_of(3 * PART, body[::-1]),
        "tokenizer.json": body,
    }


def hub_with(content: str) -> tuple[FakeHub, str]:
    hub = FakeHub()
    return hub, hub.publish(content, files=files(content))


def main() -> None:
    bucket, content, endpoint = sys.argv[1:4]
    hub, revision = hub_with(content)
    store = S3Store(bucket, S3Settings(endpoint))
    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", revision))


if __name__ == "__main__":
    main()

"""Staging into a real S3, and what the store says of wrong keys. The store itself: test_s3_store.py."""

import pytest

from genai_pipeline.core.errors import AccessDenied
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.staging.stager import Stager
from tests.fakes.stage_once import PART, files, hub_with


def test_a_revision_of_large_and_small_files_arrives_whole(store):
    hub, revision = hub_with("São Paulo")

    manifest = Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", revision))

    prefix = staged_prefix("tiny", revision)
    assert {f.path: store.get(prefix + f.path)[0] for f in manifest.files} == files("São Paulo")
    assert {f.path: store.head(prefix + f.path).etag for f in manifest.files} == {
        f.path: f.etag for f in manifest.files
    }


def test_the_next_revision_copies_what_did_not_change(store):
    hub, first = hub_with("abc")
    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", first))
    second = hub.publish("next", files=files("abc") | {"config.json": b'{"new": 1}'})

    Stager(hub, store, PART).stage("tiny", hub.snapshot("owner/tiny", second))

    assert store.get(staged_prefix("tiny", second) + "model-2.safetensors")[0] == files("abc")["model-2.safetensors"]


def test_wrong_credentials_are_named_and_not_shown(s3_server):
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID") as caught:
        S3Store("genai", s3_server.settings(access_key="wrong", secret_key="topsecret")).put("a", b"1")
    assert "topsecret" not in str(caught.value)

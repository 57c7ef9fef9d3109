"""The whole way of the bytes: embedded hub, real hub client, stager, real S3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_pipeline.core.errors import AccessDenied, ChecksumMismatch
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.local.hub import hub_server
from genai_pipeline.local.hub.hub_digests import HubFile
from genai_pipeline.local.hub.hub_server import HubServer
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.staging_verdicts import judge_snapshot
from tests.fakes.weights import safetensors

NAME = "owner/tiny"
MIB = 1024 * 1024
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gated repository of two shards, the first of several parts."""
    files = tmp_path / "hub" / NAME / "v1"
    files.mkdir(parents=True)
    (files.parent / "repo.yaml").write_text(
        "{gated: true, license: mit, refs: {main: v1}, revisions: {v1: {title: t}}}"
    )
    (files / SHARDS[0]).write_bytes(safetensors(os.urandom(11 * MIB)))
    (files / SHARDS[1]).write_bytes(safetensors(os.urandom(MIB)))
    (files / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))})
    )
    (files / "config.json").write_text("{}")
    return tmp_path / "hub"


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(folder, tmp_path / "state", tokens=frozenset({"secret"}), link_valid_s=600) as server:
        yield server


def test_a_gated_model_goes_from_hub_to_s3_and_passes_every_check(server: HubServer, folder: Path, store: S3Store):
    hub = HuggingFaceHub(server.url, "secret")
    revision = hub.resolve(NAME, "main")
    snapshot = hub.snapshot(NAME, revision)
    assert {v.outcome for v in judge_snapshot(snapshot, ["mit"], hub)} == {Outcome.PASSED}

    stager = Stager(hub, store)
    manifest = stager.stage("tiny", snapshot)

    published = {p.name: p.read_bytes() for p in (folder / NAME / "v1").iterdir()}
    assert {f.path: store.get(staged_prefix("tiny", revision) + f.path)[0] for f in manifest.files} == published
    assert {v.outcome for v in stager.verify("tiny", snapshot)} == {Outcome.PASSED}
    assert list(store.list_uploads("")) == []


def test_a_repository_in_xet_is_staged_through_its_ordinary_addresses(
    server: HubServer, folder: Path, store: S3Store, monkeypatch: pytest.MonkeyPatch
):
    honest = hub_server.file_headers

    def in_xet(commit: str, file: HubFile) -> dict[str, str]:
        link = f'<{server.url}/api/models/{NAME}/xet-read-token/{commit}>; rel="xet-auth"'
        return honest(commit, file) | ({"X-Xet-Hash": "e" * 64, "Link": link} if file.lfs else {})

    monkeypatch.setattr(hub_server, "file_headers", in_xet)
    hub = HuggingFaceHub(server.url, "secret")
    snapshot = hub.snapshot(NAME, hub.resolve(NAME, "main"))

    Stager(hub, store).stage("tiny", snapshot)

    assert {v.outcome for v in Stager(hub, store).verify("tiny", snapshot)} == {Outcome.PASSED}
    shard = staged_prefix("tiny", snapshot.revision) + SHARDS[0]
    assert store.get(shard)[0] == (folder / NAME / "v1" / SHARDS[0]).read_bytes()


def test_files_with_odd_names_are_staged_as_they_are(tmp_path: Path, store: S3Store):
    odd = {
        "a b + # % ? & ' \" ü 日本 😀.txt": b"odd",
        "Bildschirmfoto 10.15\u202fUhr [1].txt": b"narrow space",
        "a/b/c/d/e/f/.gitkeep": b"",
        "empty.txt": b"",
        "model.safetensors": safetensors(b"weights"),
    }
    repository = tmp_path / "odd" / NAME
    for path, body in odd.items():
        (repository / "v1" / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / "v1" / path).write_bytes(body)
    (repository / "repo.yaml").write_text("{license: mit, refs: {main: v1}, revisions: {v1: {title: t}}}")
    with HubServer(tmp_path / "odd", tmp_path / "state") as server:
        hub = HuggingFaceHub(server.url)
        snapshot = hub.snapshot(NAME, hub.resolve(NAME, "main"))
        stager = Stager(hub, store)
        manifest = stager.stage("odd", snapshot)
        verdicts = stager.verify("odd", snapshot)

    assert {f.path: store.get(staged_prefix("odd", snapshot.revision) + f.path)[0] for f in manifest.files} == odd
    assert {v.outcome for v in verdicts} == {Outcome.PASSED}


def test_without_a_token_nothing_is_staged_and_the_verdict_says_where_to_get_access(server: HubServer, store: S3Store):
    hub = HuggingFaceHub(server.url)
    snapshot = hub.snapshot(NAME, "main")
    verdicts = {v.check: v for v in judge_snapshot(snapshot, ["mit"], hub)}
    assert verdicts["repository_reachable"].outcome is Outcome.FAILED
    assert "HF_TOKEN" in verdicts["repository_reachable"].summary
    with pytest.raises(AccessDenied, match=f"{server.url}/{NAME}"):
        Stager(hub, store).stage("tiny", snapshot)
    assert list(store.list("")) == []


def test_a_file_that_changed_behind_the_hubs_back_is_named_and_not_visible(
    server: HubServer, folder: Path, store: S3Store
):
    hub = HuggingFaceHub(server.url, "secret")
    snapshot = hub.snapshot(NAME, "main")
    shard = folder / NAME / "v1" / SHARDS[0]
    before = shard.stat()
    with shard.open("r+b") as file:  # same size, same time: the hub goes on publishing the old digest
        file.seek(9 * MIB)
        byte = file.read(1)[0]
        file.seek(9 * MIB)
        file.write(bytes([byte ^ 1]))
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(ChecksumMismatch, match=SHARDS[0]):
        Stager(hub, store).stage("tiny", snapshot)

    prefix = staged_prefix("tiny", snapshot.revision)
    assert store.head(prefix + SHARDS[0]) is None
    assert store.head(manifest_key("tiny", snapshot.revision)) is None
    assert list(store.list_uploads("")) == []

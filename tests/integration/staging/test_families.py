"""Repositories in the shapes of widely used families: what is staged, and what vLLM's own streamer finds there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_pipeline.core.errors import UnsafeFormat
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.hub.sources import source_of
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.staging_verdicts import judge_snapshot
from tests.fakes.families import FAMILIES, Family
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeHub


@pytest.fixture
def streamed(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the streamer lists below an address of this S3, by the name of the file."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING", "0")
    from runai_model_streamer import list_safetensors

    return lambda url: sorted(found.removeprefix(url) for found in list_safetensors(url))


def opened(family: Family, folder: Path, **source: Any) -> tuple[Any, Any]:
    """The family's repository as a folder, and its snapshot."""
    for path, body in family.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    settings = {"folder": str(folder), **family.source, **source}
    hub = source_of(Source.model_validate(settings), FakeHub(), MemoryStore())
    return hub, hub.snapshot("", hub.resolve("", "main"))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.like)
def test_the_streamer_finds_exactly_what_the_index_names(family: Family, tmp_path: Path, store: S3Store, streamed: Any):
    hub, snapshot = opened(family, tmp_path / "m")

    verdicts = {v.check: v for v in judge_snapshot(snapshot, Source(hub="a/b").licences, hub, family.args)}
    manifest = Stager(hub, store).stage("tiny", snapshot)

    assert verdicts["weights_loadable"].outcome is Outcome.PASSED, verdicts["weights_loadable"].summary
    assert verdicts["weights_loadable"].evidence["chat_template"] == family.template
    assert verdicts["weights_loadable"].evidence["loaded"] == sorted(family.loaded)
    assert [left.file.path for left in snapshot.left_out] == family.left_out
    assert streamed(store.url(staged_prefix("tiny", snapshot.revision))) == sorted(family.loaded)
    selected = {path for path in family.files if Source.model_validate({"hub": "a/b", **family.source}).selects(path)}
    assert {f.path for f in manifest.files} == selected - set(family.left_out)
    assert {v.outcome for v in Stager(hub, store).verify("tiny", snapshot)} == {Outcome.PASSED}


@pytest.mark.parametrize("family", [f for f in FAMILIES if "exclude" in f.source], ids=lambda family: family.like)
def test_a_repository_with_pickles_says_what_to_exclude_in_lines_that_work(family: Family, tmp_path: Path):
    hub, snapshot = opened(family, tmp_path / "m", exclude=())
    with pytest.raises(UnsafeFormat) as refused:
        Stager(hub, MemoryStore()).stage("tiny", snapshot)
    lines = str(refused.value).partition("source:\n")[2]
    exclude = yaml.safe_load(lines)["exclude"]

    hub, snapshot = opened(family, tmp_path / "m", exclude=exclude)

    store = MemoryStore()
    Stager(hub, store).stage("tiny", snapshot)
    assert {v.outcome for v in Stager(hub, store).verify("tiny", snapshot)} == {Outcome.PASSED}

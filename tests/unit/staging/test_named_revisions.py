"""Staged revisions that the arguments of another model's release name, such as a draft."""

from __future__ import annotations

import pytest

from genai_pipeline.core.errors import Refused, StagingError
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.model_file import ModelFiles, parse_model
from genai_pipeline.core.record import Live, Phase, Record, live_key, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.staging.lease import LEASES
from genai_pipeline.staging.named_revisions import NamedRevisions, require_named_revisions
from genai_pipeline.staging.prune_decision import Fate
from genai_pipeline.staging.pruner import Pruner
from genai_pipeline.staging.references import references_to
from genai_pipeline.staging.stager import Stager
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors
from tests.fakes.world import FakeHub

DAY = 86400.0
FILES = {"model.safetensors": safetensors(b"x" * 100), "config.json": b"{}"}


class Bench:
    """A bucket with a staged draft, long ago, and a model that may name it."""

    def __init__(self) -> None:
        self.hub, self.store = FakeHub(), MemoryStore(clock=lambda: 1e9)
        self.revision = self.hub.publish("draft", files=FILES)
        Stager(self.hub, self.store).stage("draft", self.hub.snapshot("owner/draft", self.revision))
        self.address = self.store.url(staged_prefix("draft", self.revision))
        self.store._clock = lambda: 1e9 + 365 * DAY  # pyright: ignore[reportPrivateUsage]

    def spec(self, address: str = ""):
        args = f"{{speculative-config: {{model: '{address or self.address}', num_speculative_tokens: 2}}}}"
        text = f"name: big\nsource: {{hub: owner/big}}\nserving: {{args: {args}}}\nagent: none\n"
        return parse_model(text, "models/big.yaml")

    def record(self, phase: Phase) -> Record:
        spec = self.spec()
        release = Release.of(spec, "1" * 40)
        record = Record("big", release.id, "1" * 40, spec.model_dump(mode="json", by_alias=True), phase)
        self.store.put(record_key("big", release.id), record.to_bytes())
        self.store.modified[record_key("big", release.id)] = 1e9
        return record

    def pruner(self, *specs) -> Pruner:
        files = ModelFiles(specs, ())
        named = NamedRevisions(self.store, files.specs)

        def referring(models):
            return references_to(models, self.store, lambda _: self.hub, files, list, ["draft"], named)

        return Pruner(self.store, referring)

    def fate(self, *specs) -> tuple[Fate, str]:
        (decision,) = self.pruner(*specs).plan()
        return decision.fate, decision.why


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_draft_that_nothing_names_is_deleted(bench: Bench):
    assert bench.fate()[0] is Fate.DELETE


@pytest.mark.parametrize("phase", [Phase.ROLLING_OUT, Phase.AWAITING_APPROVAL, Phase.LIVE])
def test_a_draft_that_a_release_names_is_kept(bench: Bench, phase: Phase):
    record = bench.record(phase)
    fate, why = bench.fate()
    assert fate is Fate.KEEP
    assert f"big@{record.release}" in why


def test_a_draft_of_the_last_good_release_is_kept_and_of_an_older_one_not(bench: Bench):
    record = bench.record(Phase.REPLACED)
    assert bench.fate()[0] is Fate.DELETE

    live = Live("222222222222-222222", "2" * 40, "2026-01-01T00:00:00+00:00", last_good=record.release)
    bench.store.put(live_key("big"), live.to_bytes())

    assert bench.fate()[0] is Fate.KEEP


def test_a_draft_that_a_model_file_names_is_kept(bench: Bench):
    fate, why = bench.fate(bench.spec())
    assert (fate, why) == (Fate.KEEP, "the model file of big names it")


def test_a_release_that_names_it_before_the_second_look_keeps_it(bench: Bench):
    pruner = bench.pruner()
    decisions = pruner.plan()
    bench.record(Phase.ROLLING_OUT)

    (pruned,) = pruner.carry_out(decisions)

    assert not pruned.deleted
    assert bench.store.head(manifest_key("draft", bench.revision))


def test_what_was_read_once_is_not_read_again(bench: Bench):
    bench.record(Phase.LIVE)
    pruner = bench.pruner()
    pruner.plan()
    asked: list[str] = []
    bench.store.fail = lambda method, key: asked.append(key) if method == "get" else None
    pruner.plan()
    assert [key for key in asked if key.startswith("releases/")] == []


def test_a_staged_draft_may_be_named(bench: Bench):
    (manifest,) = require_named_revisions(bench.store, bench.spec().serving.args, print)
    assert manifest.revision == bench.revision
    assert list(bench.store.list(LEASES)) == []


def test_a_draft_that_is_not_staged_is_refused_with_the_command(bench: Bench):
    bench.store.delete(manifest_key("draft", bench.revision))
    with pytest.raises(StagingError, match=f"genai stage draft --revision {bench.revision}"):
        require_named_revisions(bench.store, bench.spec().serving.args, print)


@pytest.mark.parametrize("body", [None, b"other"])
def test_a_draft_whose_objects_are_not_those_of_its_manifest_is_refused(bench: Bench, body: bytes | None):
    key = staged_prefix("draft", bench.revision) + "model.safetensors"
    bench.store.delete(key)
    if body:
        bench.store.put(key, body)
    with pytest.raises(StagingError, match=r"model\.safetensors"):
        require_named_revisions(bench.store, bench.spec().serving.args, print)


def test_a_draft_in_another_bucket_is_refused(bench: Bench):
    elsewhere = bench.spec(bench.address.replace("s3://genai/", "s3://other/"))
    with pytest.raises(Refused, match="bucket genai"):
        require_named_revisions(bench.store, elsewhere.serving.args, print)

"""The exporter of releases, over real cut-overs and rollbacks in the in-memory world."""

from __future__ import annotations

import threading
import time
import urllib.request
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from genai_pipeline.core.compile_cache import Reason
from genai_pipeline.core.errors import StoreUnavailable
from genai_pipeline.core.facts import AgentFigures, CompileCache, Facts, StagingFigures
from genai_pipeline.core.record import Phase, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import inconclusive, passed
from genai_pipeline.local.ports import free_port
from genai_pipeline.observability.exporter import READ_AT, ReleaseExporter, serve_forever
from genai_pipeline.observability.release_series import MOST_RELEASES
from genai_pipeline.rollout.switch.rollback import RollBack
from tests.fakes.store import MemoryStore
from tests.unit.rollout.conftest import no_pause_between_two_questions  # noqa: F401 - a fixture
from tests.unit.rollout.test_cutover import SPEC, V1, V2, WATCHED, Bench

HIT = "genai_release_compile_cache_hit"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def bench() -> Bench:
    """V2 is live and watched; V1 was live before it."""
    bench = Bench()
    for release in (V1, V2):
        bench.candidate(release)
        bench.go(release, spec=WATCHED)
    return bench


def samples(exporter: ReleaseExporter) -> Samples:
    registry = CollectorRegistry()
    registry.register(exporter)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def read(bench: Bench) -> Samples:
    exporter = ReleaseExporter(bench.world.store)
    exporter.read()
    return samples(exporter)


def at(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_the_live_release_and_each_switch_are_counted(bench: Bench):
    found = read(bench)

    live = at("genai_live_release_info", model="tiny", release=V2.id, revision=V2.revision, engine="vllm")
    assert found[live] == 1
    assert found[at("genai_live_release_watched", model="tiny")] == 1
    assert found[at("genai_switches_total", model="tiny", kind="cutover")] == 2
    assert found[at("genai_switches_total", model="tiny", kind="rollback")] == 0
    assert found[at("genai_releases", model="tiny", phase="replaced")] == 1


def test_a_rollback_is_a_switch_of_its_own_kind(bench: Bench):
    back = RollBack(bench.world.gateways(), bench.records, bench.candidates, bench.traffic)
    back.begin("tiny", "half of all requests fail", "watch")
    back.finish("tiny", lambda _: None)

    found = read(bench)

    assert found[at("genai_switches_total", model="tiny", kind="cutover")] == 2
    assert found[at("genai_switches_total", model="tiny", kind="rollback")] == 1
    assert at("genai_last_switch_timestamp_seconds", model="tiny", kind="rollback") in found
    assert found[at("genai_releases", model="tiny", phase="rolled back")] == 1


def test_counters_are_the_same_after_a_restart(bench: Bench):
    assert {k: v for k, v in read(bench).items() if k[0] != READ_AT} == {
        k: v for k, v in read(bench).items() if k[0] != READ_AT
    }


def test_stages_verdicts_cases_bytes_and_prices_are_those_of_the_record(bench: Bench):
    figures = Facts(
        staging=StagingFigures(bytes=4_000, seconds=2),
        agent=AgentFigures(suite="weather", cases=20, solved=18, not_measured=1),
    )
    cost = passed("cost", "fine", usd_per_hour=2.5, value_usd=1.25)
    asked = [cost, inconclusive("gpu_health", "no GPU could be asked")]
    bench.records.update("tiny", V2.id, lambda r: r.with_verdicts("serving_report", asked, 61.5, figures))

    found = read(bench)

    ours = {"model": "tiny", "release": V2.id}
    assert found[at("genai_stage_duration_seconds", **ours, stage="serving_report")] == 61.5
    assert found[at("genai_verdicts", **ours, stage="serving_report", outcome="inconclusive")] == 1
    assert found[at("genai_staged_bytes", **ours)] == 4_000
    assert found[at("genai_usd_per_hour", **ours)] == 2.5
    assert found[at("genai_usd_per_million_tokens", **ours)] == 1.25
    cases = {r: found[at("genai_evaluation_cases", **ours, suite="weather", result=r)] for r in ("solved", "unsolved")}
    assert cases == {"solved": 18, "unsolved": 1}


@pytest.mark.parametrize("reason", ["hit", "none", "digest", "versions", "slow", "failed", "off"])
def test_whether_a_candidate_started_from_compiled_code_is_a_series_with_its_reason(bench: Bench, reason: str):
    section = CompileCache(hit=reason == "hit", reason=reason, why="in many words that are no label")
    bench.records.update("tiny", V2.id, lambda r: r.with_facts(Facts(compile_cache=section)))

    found = {labels: value for (name, labels), value in read(bench).items() if name == HIT}

    ((labels, value),) = found.items()
    assert dict(labels) == {"model": "tiny", "release": V2.id, "reason": reason}
    assert value == (reason == "hit")
    assert reason in set(Reason)


def test_many_old_releases_make_no_series_of_their_own_but_the_live_one_does(bench: Bench):
    for n in range(MOST_RELEASES + 5):
        release = Release.of(SPEC, f"{n + 16:012x}{0:028x}")
        bench.records.open(SPEC, release, "opened")
        later = [replace(e, at="2027-01-01T00:00:00.000Z") for e in bench.records.require("tiny", release.id).history]
        change = {"history": tuple(later), "timings": {"snapshot": 1.0}, "phase": Phase.REJECTED}
        bench.records.update("tiny", release.id, lambda r, c=change: replace(r, **c))

    found = read(bench)

    named = {dict(labels)["release"] for name, labels in found if name == "genai_rollout_duration_seconds"}
    assert len(named) == MOST_RELEASES + 2
    assert {V1.id, V2.id} <= named
    assert found[at("genai_releases", model="tiny", phase="rejected")] == MOST_RELEASES + 5


def test_a_damaged_record_is_counted_and_hides_no_other(bench: Bench):
    bench.world.store.put(record_key("tiny", V1.id), b"{}")

    found = read(bench)

    assert found[at("genai_records_damaged", model="tiny")] == 1
    assert found[at("genai_switches_total", model="tiny", kind="cutover")] == 1


def test_a_store_that_does_not_answer_leaves_the_last_picture_and_its_time(bench: Bench):
    clock = iter([100.0, 200.0])
    exporter = ReleaseExporter(bench.world.store, now=lambda: next(clock))
    exporter.read()
    before = samples(exporter)
    bench.world.store.go_down()

    with pytest.raises(StoreUnavailable):
        exporter.read()

    assert samples(exporter) == before
    assert before[at(READ_AT)] == 100.0


def test_before_the_first_reading_nothing_is_claimed():
    assert samples(ReleaseExporter(MemoryStore())) == {at(READ_AT): 0.0}


def test_it_serves_what_it_read_until_it_is_stopped(bench: Bench):
    port, stopped, said = free_port(), threading.Event(), []
    thread = threading.Thread(
        target=serve_forever, args=(bench.world.store, "127.0.0.1", port, said.append, stopped, 0.01), daemon=True
    )
    thread.start()
    text, live, over = "", f'release="{V2.id}"', time.monotonic() + 60
    while live not in text and thread.is_alive() and time.monotonic() < over:  # the first pictures may be empty
        try:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        except OSError:
            stopped.wait(0.02)
    stopped.set()
    thread.join(60)

    assert live in text
    assert not thread.is_alive()
    assert said == []

"""Re-evaluation, capacity and the failure of schedules: shown and told, and never a move of traffic."""

import dagster as dg
import pytest

from genai_pipeline.core.errors import AgentUnavailable
from genai_pipeline.core.verdict import failed, inconclusive
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from tests.defs.beginnings import begin_with
from tests.defs.upkeep_desk import evaluations, run

INF = float("inf")


def latest(desk, asset):
    return desk.instance.fetch_materializations(dg.AssetKey(["tiny", asset]), limit=10).records


def kinds(desk):
    return [str(n.kind) for n in desk.engines.notices().waiting()]


def worsen(desk, verdict):
    desk.verdicts["agent_report"] = [verdict(v.check, "Paris again") for v in desk.verdicts["agent_report"]]


def test_what_still_passes_is_a_materialization_of_the_live_partition(desk):
    begin_with(desk, "v1")
    before = len(latest(desk, "live"))

    result = run(desk, "evaluate_tiny")

    assert result.success
    found = evaluations(result)["still_passes"]
    assert found.passed
    assert found.metadata["release"].value == desk.live
    for asset in ("live", "agent_report"):
        assert latest(desk, asset)[0].partition_key == desk.live
    assert len(latest(desk, "live")) == before + 1


def test_what_fails_is_an_error_and_reported_once_and_moves_nothing(desk):
    begin_with(desk, "v1", "v2")
    v2 = desk.live
    worsen(desk, failed)
    before = len(latest(desk, "live"))

    results = [run(desk, "evaluate_tiny") for _ in range(2)]

    found = evaluations(results[0])["still_passes"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert desk.live == v2
    assert kinds(desk) == ["no longer passes"]
    assert desk.record(v2).history[-1].what.startswith("evaluated again: failed")
    assert len(latest(desk, "live")) == before
    assert latest(desk, "agent_report")[0].partition_key == v2


def test_what_could_not_be_measured_is_a_warning_and_makes_nothing_fresh(desk, monkeypatch):
    begin_with(desk, "v1")
    before = len(latest(desk, "agent_report"))

    def down(*args, **kwargs):
        raise AgentUnavailable("The agent did not answer.", "See its log.")

    worsen(desk, inconclusive)
    results = [run(desk, "evaluate_tiny")]
    monkeypatch.setattr("genai_pipeline.evaluation.evaluate.evaluate", down)
    results.append(run(desk, "evaluate_tiny"))

    for result in results:
        found = evaluations(result)["still_passes"]
        assert not found.passed
        assert found.severity is dg.AssetCheckSeverity.WARN
        assert found.metadata["outcome"].value == "inconclusive"
    assert len(latest(desk, "agent_report")) == before
    assert kinds(desk) == []


def test_a_release_that_lost_the_traffic_meanwhile_is_not_judged(desk, monkeypatch):
    begin_with(desk, "v1", "v2")
    last_good = desk.engines.records().live("tiny").last_good
    from genai_pipeline.evaluation import evaluate as evaluation

    evaluate = evaluation.evaluate

    def meanwhile(*args, **kwargs):
        desk.engines.records().set_live(desk.record(last_good).as_release)
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(evaluation, "evaluate", meanwhile)

    assert evaluations(run(desk, "evaluate_tiny"))["still_passes"].metadata["outcome"].value == "inconclusive"


@pytest.mark.parametrize(
    ("bound", "requests", "outcome"), [(0.5, 40, "passed"), (4.0, 40, "failed"), (0.5, 5, "inconclusive")]
)
def test_the_engines_own_figures_are_compared_with_the_gates(desk, monkeypatch, bound, requests, outcome):
    begin_with(desk, "v1")
    readings = iter([{0.25: 0, bound: 0, INF: 0}, {0.25: 0, bound: 0, 8.0: requests, INF: requests}])
    if outcome != "failed":
        readings = iter([{bound: 0, INF: 0}, {bound: requests, INF: requests}])

    class Metrics:
        def read(self, url):
            return EngineMetrics(0.1, 0, 0, 0, 0, 0, next(readings))

    object.__setattr__(desk.engines.gateways, "metrics", Metrics())

    found = evaluations(run(desk, "evaluate_tiny"))["still_within_gates"]

    assert found.metadata["outcome"].value == outcome


def test_nothing_live_is_nothing_to_evaluate_or_to_ask_capacity_for(desk):
    assert evaluations(run(desk, "evaluate_tiny"))["still_passes"].passed
    assert all(e.passed for e in evaluations(run(desk, "live_capacity")).values())


def test_no_room_for_the_next_release_is_seen_before_there_is_one(desk):
    begin_with(desk, "v1")
    assert all(e.passed for e in evaluations(run(desk, "live_capacity")).values())
    desk.world.cluster.free_memory_gib = 0.1

    found = evaluations(run(desk, "live_capacity"))

    assert not found["next_surge_fits"].passed
    assert "memory" in found["next_surge_fits"].description
    assert found["reservation_lasts"].passed


def test_a_store_that_is_down_makes_every_check_a_warning_not_an_error_of_the_run(desk):
    begin_with(desk, "v1")
    desk.world.store.go_down()

    found = evaluations(run(desk, "live_capacity")) | evaluations(run(desk, "live_drift"))

    assert {e.metadata["outcome"].value for e in found.values()} == {"inconclusive"}


def test_a_schedules_run_that_fails_is_reported(desk):
    repository = desk.defs.get_repository_def()
    sensor = repository.get_sensor_def("upkeep_failures")
    job = desk.defs.resolve_job_def("prune")
    result = job.execute_in_process(
        instance=desk.instance, raise_on_error=False,
        run_config={"ops": {"prune_staged_models": {"config": {"grace_days": -1}}}},
    )  # fmt: skip
    failed_run = result.dagster_run
    event = next((e for e in result.all_events if e.is_failure), None) or result.all_events[-1]
    with dg.build_run_status_sensor_context(
        sensor_name="upkeep_failures", dagster_event=event, dagster_instance=desk.instance, dagster_run=failed_run,
        resources=desk.resources,
    ) as context:  # fmt: skip
        sensor(context.for_run_failure())

    (notice,) = desk.engines.notices().waiting()
    assert notice.kind == "upkeep failed"
    assert "prune" in notice.text

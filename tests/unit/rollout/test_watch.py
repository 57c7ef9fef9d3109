"""The judgement over a live release: what rolls back, and every lie that must not."""

import math
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from genai_pipeline.core.facts import Facts, ServingFigures, WatchSummary
from genai_pipeline.core.record import Record
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Asked, Outcome
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.rollout.watch.judgement import look
from genai_pipeline.rollout.watch.limits import limits_of
from genai_pipeline.rollout.watch.reading import Canary, Pods, Reading
from genai_pipeline.rollout.watch.state import WatchState
from genai_pipeline.rollout.watch.watcher import summary_of
from tests.fakes.model_texts import model_with_tools

SPEC = model_with_tools(
    "name: tiny\nsource: {hub: a/b}\ngates: {serving: {ttft_p95_ms: 800, queue_max: 30}}\n"
    "rollout: {breach: {for: 20s, times_baseline: 3, min_requests: 10}}\n",
    "tiny.yaml",
)
GOOD = Record(
    "tiny", "r1", "1" * 40, {}, facts=Facts(serving=ServingFigures(ttft_p95_ms=50.0, inter_token_p95_ms=40.0))
)
LIMITS = limits_of(SPEC, GOOD)
CURSOR = TypeAdapter(WatchState)
TICK_S = 5.0
ANSWERED = Canary("answered", seconds=0.2, way_s=0.01)
BROKEN = Canary("broken", "POST answered 500: EngineCore died.")
SILENT = Canary("silent", "POST did not answer within 10 s.")
UP = Pods(ready=1, restarts=0)
BOUNDS = (0.01, 0.04, 0.1, 0.25, 0.5, 1.0, math.inf)


class Engine:
    """Counters that go on as an engine's do; what a look sees is `reading()`."""

    def __init__(self):
        self.wall, self.mono = 1_800_000_000.0, 5_000.0
        self.ok = self.bad = self.finished = 0
        self.ttft = dict.fromkeys(BOUNDS, 0.0)
        self.gaps = dict.fromkeys(BOUNDS, 0.0)
        self.kv, self.waiting, self.running = 0.1, 0.0, 1.0

    def serve(self, n, ttft_s=0.03, gap_s=0.03, bad=0):
        self.ok, self.bad, self.finished = self.ok + n - bad, self.bad + bad, self.finished + n - bad
        for bound in BOUNDS:
            self.ttft[bound] += (n - bad) * (ttft_s <= bound)
            self.gaps[bound] += 10 * (n - bad) * (gap_s <= bound)

    @property
    def metrics(self):
        return EngineMetrics(
            self.kv, self.running, self.waiting, 0, 0, self.finished, dict(self.ttft), dict(self.gaps),
            {"2xx": self.ok, "5xx": self.bad},
        )  # fmt: skip

    def reading(self, **changed):
        seen = {"canary": ANSWERED, "metrics": self.metrics, "pods": UP} | changed
        return Reading(self.wall, self.mono, **seen)

    def pass_time(self, seconds=TICK_S, wall=None):
        self.mono += seconds
        self.wall += seconds if wall is None else wall


def watch(looks, each, limits=LIMITS, state=None):
    """Let `each(engine, n)` set a look up and return what differs in its reading; the findings, one a look."""
    engine, findings = Engine(), []
    state = state or WatchState("r2", 0.0, 0.0)
    for n in range(looks):
        changed = each(engine, n) or {}
        state = CURSOR.validate_json(CURSOR.dump_json(state))
        state, finding = look(state, engine.reading(**changed), limits)
        findings.append(finding)
        engine.pass_time()
    watch.state = state
    return findings


def breaches(findings):
    return [finding.breach for finding in findings if finding.breach]


def test_a_healthy_release_passes():
    findings = watch(30, lambda engine, n: engine.serve(20))

    assert not breaches(findings)
    assert {finding.outcome for finding in findings} == {Outcome.PASSED}


BREACHES = {
    "500s": (lambda e, n: e.serve(20, bad=10), "10 of 20 requests failed (50%), the limit is 2%"),
    "latency": (lambda e, n: e.serve(20, ttft_s=0.2), "TTFT p95 is 243 ms, compared with r1 the limit is 150 ms"),
    "gate": (lambda e, n: e.serve(20, ttft_s=2.0), "TTFT p95 is 1000 ms, compared with r1 the limit is 150 ms"),
    "tokens": (
        lambda e, n: e.serve(20, gap_s=0.2),
        "inter-token latency p95 is 242 ms, compared with r1 the limit is 120 ms",
    ),
    "kv cache": (lambda e, n: setattr(e, "kv", 0.99), "the KV cache is 99% full, the gate is below 85%"),
    "queue": (lambda e, n: setattr(e, "waiting", 31), "31 requests wait in the engine, the gate is below 30"),
    "slow completion": (
        lambda e, n: {"canary": Canary("answered", seconds=6, way_s=0.01)},
        "a short request took 6.0 s",
    ),
    "wrong agent": (
        lambda e, n: {"asked": Asked("weather-plain", False, "says Paris")},
        "the agent was asked weather-plain: says Paris",
    ),
    "one pod crashes": (
        lambda e, n: {"pods": Pods(1, n, "tiny-r2-x")},
        "tiny-r2-x crashes repeatedly",
    ),
    "hang": (
        lambda e, n: {"canary": SILENT},
        "the engine finishes nothing, and the stable address does not answer",
    ),
}


@pytest.mark.parametrize("fault", BREACHES)
def test_what_holds_for_as_long_as_the_model_file_says_is_a_breach_and_not_before(fault):
    each, words = BREACHES[fault]

    findings = watch(8, each)

    first = next(n for n, finding in enumerate(findings) if finding.breach)
    assert first * TICK_S >= LIMITS.hold_s
    assert first * TICK_S <= LIMITS.hold_s + 2 * TICK_S
    assert words in findings[first].breach


@pytest.mark.parametrize("fault", BREACHES)
def test_a_breach_that_ends_in_time_counts_no_more(fault):
    each, _ = BREACHES[fault]

    def comes_and_goes(engine, n):
        engine.kv, engine.waiting = 0.1, 0
        engine.serve(30) if n % 4 >= 2 else None
        good = {"asked": Asked("weather-plain", True, "right")} if fault == "wrong agent" else {}
        return each(engine, n) if n % 4 < 2 else good

    assert not breaches(watch(24, comes_and_goes))


def test_a_dead_engine_counts_after_three_looks_whatever_the_model_file_says():
    findings = watch(4, lambda engine, n: {"canary": BROKEN})

    assert [bool(f.breach) for f in findings] == [False, False, True, True]
    assert "500: EngineCore died" in findings[2].breach


def test_a_crash_loop_without_a_ready_pod_counts_after_two_looks():
    def crash(engine, n):
        return {"canary": SILENT, "metrics": None, "metrics_error": "refused", "pods": Pods(0, n, "tiny-r2-x")}

    assert [bool(f.breach) for f in watch(3, crash)] == [False, True, True]


def test_completions_that_fail_while_others_are_served_have_to_hold():
    def some(engine, n):
        engine.serve(10)
        return {"canary": BROKEN}

    findings = watch(7, some)

    assert [bool(f.breach) for f in findings[:4]] == [False] * 4
    assert findings[6].breach


def not_a_number(engine, n):
    engine.serve(20, ttft_s=2, bad=10)
    return {"metrics": None, "metrics_error": "vllm:kv_cache_usage_perc is nan"}


def empty(engine, n):
    return {"metrics": EngineMetrics(0.0, 0, 0, 0, 0, 0, {}, {}, {})}


def stale(engine, n):
    engine.serve(20, ttft_s=2, bad=10)
    engine.kv = 0.99
    return {"metrics": replace(engine.metrics, age_s=200.0)}


def one_scrape_again_and_again(engine, n):
    if n == 0:
        engine.serve(20, ttft_s=2, bad=10)
        engine.kv = 0.99
    return {"metrics": replace(engine.metrics, age_s=1.0 + TICK_S * n)}


def one_sample(engine, n):
    engine.serve(30)
    if n == 5:
        engine.serve(20, ttft_s=2, bad=18)
        return {"metrics": replace(engine.metrics, kv_cache_usage=1.0, waiting=500)}
    return None


def one_failure(engine, n):
    engine.serve(2, bad=int(n == 3))


def frozen(engine, n):
    if n == 0:
        engine.serve(100, ttft_s=2, bad=50)


def reset(engine, n):
    if n % 2 == 0:
        engine.__init__()
        engine.mono += n * TICK_S
        engine.wall += n * TICK_S
        engine.serve(5, ttft_s=2, bad=4)


def replicas_that_take_turns(engine, n):
    """Read directly behind an address of two: each time another one's counters."""
    other = EngineMetrics(0.1, 0, 0, 0, 0, 5000, dict.fromkeys(BOUNDS, 5000.0), {}, {"2xx": 1, "5xx": 4999}, 17.0)
    engine.serve(1)
    return {"metrics": other if n % 2 else replace(engine.metrics, started_at=2.0)}


def unreachable_metrics(engine, n):
    return {"metrics": None, "metrics_error": "/metrics cannot be read: refused."}


def error_body(engine, n):
    return {"metrics": None, "metrics_error": "/metrics lacks vllm:kv_cache_usage_perc."}


def unreachable_from_here_alone(engine, n):
    engine.serve(20)
    return {"canary": SILENT}


def unreachable_and_idle(engine, n):
    engine.running = 0
    return {"canary": SILENT}


def nothing_reachable(engine, n):
    return {"canary": SILENT, "metrics": None, "metrics_error": "refused", "pods": None}


def nothing_but_pods_reachable(engine, n):
    return {"canary": SILENT, "metrics": None, "metrics_error": "refused"}


def another_release_answers(engine, n):
    return {"canary": Canary("elsewhere", "tiny@r9 answers"), "metrics": None, "metrics_error": "NotFound"}


def slow_way(engine, n):
    return {"canary": Canary("answered", seconds=9.0, way_s=4.0)}


def agent_not_measured(engine, n):
    return {"asked": Asked("weather-plain", None, "the weather service did not say what is right")}


def clock_forward(engine, n):
    engine.serve(20, bad=10 if n in (3, 4) else 0)
    engine.wall += 3600 if n == 4 else 0


def clock_back(engine, n):
    engine.serve(20, bad=10 if n in (3, 4) else 0)
    engine.wall -= 3600 if n == 4 else 0


def another_machine(engine, n):
    engine.serve(20, bad=10 if n in (3, 4) else 0)
    engine.mono += 50 if n == 4 else 0


def coarse_histogram(engine, n):
    """All within one bucket that begins far below the limit: it may be anything."""
    engine.ttft = {bound: engine.finished + 20 if bound >= 10 else 0 for bound in (0.05, 10.0, math.inf)}
    engine.ok, engine.finished = engine.ok + 20, engine.finished + 20


def too_few_requests(engine, n):
    engine.serve(1 if n % 9 == 0 else 0, ttft_s=2)


LIES = [
    not_a_number, empty, stale, one_scrape_again_and_again, one_sample, one_failure, frozen, reset,
    replicas_that_take_turns, unreachable_metrics, error_body, unreachable_from_here_alone, unreachable_and_idle,
    nothing_reachable, nothing_but_pods_reachable, another_release_answers, slow_way, agent_not_measured,
    clock_forward, clock_back, another_machine, coarse_histogram, too_few_requests,
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_no_lying_evidence_is_a_breach(lie):
    assert not breaches(watch(24, lie))


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_clock_that_jumps_hides_no_breach_for_long(jump_s):
    def each(engine, n):
        engine.serve(20, bad=10)
        engine.wall += jump_s if n == 2 else 0

    findings = watch(10, each)

    first = next(n for n, finding in enumerate(findings) if finding.breach)
    assert LIMITS.hold_s / TICK_S <= first <= LIMITS.hold_s / TICK_S + 3


def test_blind_looks_in_between_hide_no_breach_but_do_not_count_as_time():
    def each(engine, n):
        engine.serve(20, bad=10)
        return {"metrics": None, "metrics_error": "refused"} if n in (2, 3) else None

    findings = watch(10, each)

    first = next(n for n, finding in enumerate(findings) if finding.breach)
    assert first >= LIMITS.hold_s / TICK_S + 2


def test_after_a_long_pause_everything_is_measured_again():
    def each(engine, n):
        engine.serve(20, bad=10)
        engine.pass_time(600) if n == 4 else None

    findings = watch(9, each)

    assert not findings[4].breach
    assert not findings[7].breach


def test_an_engine_that_counts_no_answers_is_judged_by_the_rest():
    def each(engine, n):
        engine.serve(20)
        return {"metrics": replace(engine.metrics, responses=None)}

    findings = watch(10, each)

    assert not breaches(findings)
    assert findings[-1].outcome is Outcome.PASSED


def test_without_a_last_good_release_only_the_gates_count():
    limits = limits_of(SPEC, None)

    assert (limits.first_gate_s, limits.first_s, limits.inter_token_s, limits.compared_with) == (0.8, None, None, "")
    assert not breaches(watch(10, lambda e, n: e.serve(20, ttft_s=0.4), limits))
    assert not breaches(watch(10, lambda e, n: e.serve(20, ttft_s=0.6), limits))  # 0.5 to 1.0: it may keep to it
    assert "the gate is 800 ms" in breaches(watch(10, lambda e, n: e.serve(20, ttft_s=1.2), limits))[0]


def test_the_baseline_is_the_larger_of_real_traffic_and_load_test_and_has_a_floor():
    fast = GOOD.with_facts(Facts(serving=ServingFigures(ttft_p95_ms=2.0), watch=WatchSummary(ttft_p95_ms=1.0)))
    real = GOOD.with_facts(Facts(watch=WatchSummary(ttft_p95_ms=90.0)))

    assert limits_of(SPEC, fast).first_s == 0.1
    assert limits_of(SPEC, real).first_s == pytest.approx(0.27)


EMBEDDER = SPEC.model_copy(update={"task": Task.EMBED})
GOOD_EMBEDDER = Record("tiny", "r1", "1" * 40, {}, facts=Facts(serving=ServingFigures(latency_p95_ms=50.0)))


def test_a_pooling_model_is_judged_by_whole_requests_and_by_no_token():
    def each(engine, n):
        engine.kv = 0.99
        engine.serve(20, gap_s=0.5)

    findings = watch(30, each, limits_of(EMBEDDER, GOOD_EMBEDDER))

    assert not breaches(findings)
    assert {s.name for s in findings[-1].signals} == {
        "canary", "canary_latency", "crash_loop", "error_rate", "latency_p95", "queue"
    }  # fmt: skip
    assert findings[-1].outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("last_good", "seconds", "words"),
    [
        (GOOD_EMBEDDER, 0.2, "request time p95 is 243 ms, compared with r1 the limit is 150 ms"),
        (None, 1.2, "the gate is 800 ms"),
        # The time to a token of a release that was for chat says nothing about a whole request.
        (GOOD, 1.2, "the gate is 800 ms"),
    ],
)
def test_a_pooling_model_that_gets_slow_is_a_breach(last_good, seconds, words):
    limits = limits_of(EMBEDDER, last_good)

    assert words in breaches(watch(10, lambda e, n: e.serve(20, ttft_s=seconds), limits))[0]
    assert not breaches(watch(10, lambda e, n: e.serve(20, ttft_s=0.09), limits))


def test_metrics_that_say_nothing_leave_a_pooling_model_unjudged_and_name_no_tokens():
    findings = watch(3, lambda e, n: {"metrics": None}, limits_of(EMBEDDER, None))

    unknown = {s.name for s in findings[-1].signals if s.outcome is Outcome.INCONCLUSIVE}
    assert unknown == {"error_rate", "latency_p95", "queue"}


@pytest.mark.parametrize(
    ("spec", "known", "unknown"),
    [
        (SPEC, {"ttft_p95_ms", "inter_token_p95_ms", "kv_cache_peak"}, {"latency_p95_ms"}),
        (EMBEDDER, {"latency_p95_ms"}, {"ttft_p95_ms", "inter_token_p95_ms", "kv_cache_peak"}),
    ],
)
def test_the_figures_of_a_whole_watch_are_those_of_the_task_and_the_next_baseline(spec, known, unknown):
    watch(10, lambda engine, n: engine.serve(20), limits_of(spec, None))

    seen = summary_of(watch.state, spec.task)
    assert known <= seen.figures.keys()
    assert not unknown & seen.figures.keys()
    next_limits = limits_of(spec, Record("tiny", "r1", "1" * 40, {}, facts=Facts(watch=seen)))
    assert next_limits.first_s == pytest.approx(0.12, rel=0.2)


def test_what_a_watch_saw_is_summed_over_all_of_it():
    watch(10, lambda engine, n: engine.serve(20, bad=1))

    totals = watch.state.totals
    assert (totals.ok, totals.bad) == (9 * 19, 9)
    assert totals.ttft[math.inf] == 9 * 19
    assert (totals.looks, totals.measured, len(totals.canary_s)) == (10, 10, 10)


# After the watch


def guard(engine, looks, state=None, limits=LIMITS, **seen):
    """The findings of so many looks, with what `seen` says of each."""
    state, findings = state or WatchState("r2", engine.wall, engine.mono), []
    for _ in range(looks):
        engine.pass_time()
        engine.serve(50, bad=seen.get("bad", 0), ttft_s=seen.get("ttft_s", 0.03))
        changed = {name: seen[name] for name in ("canary", "pods") if name in seen}
        state, finding = look(state, engine.reading(**changed), limits, guarding=True)
        findings.append(finding)
    return findings


@pytest.mark.parametrize(
    "seen",
    [
        {"canary": BROKEN},
        {"bad": 25},
        {"canary": SILENT, "pods": Pods(ready=0, restarts=4, crashing="engine-1")},
    ],
)
def test_errors_and_crashes_count_after_the_watch_once_they_have_held(seen):
    findings = guard(Engine(), 8, **seen)

    assert not any(finding.breach for finding in findings[:4])
    assert findings[-1].breach


@pytest.mark.parametrize(
    "seen",
    [
        {"ttft_s": 0.9},
        {"canary": Canary("answered", seconds=20.0, way_s=0.01)},
        {"canary": SILENT, "pods": Pods(ready=0, restarts=0)},
        {"canary": BROKEN, "pods": None},
    ],
)
def test_what_may_be_the_traffics_or_a_nodes_fault_does_not(seen):
    assert not any(finding.breach for finding in guard(Engine(), 12, **seen))

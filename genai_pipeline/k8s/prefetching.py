"""Starts vLLM's server in an engine's pod, and copies the weights from S3 into memory while Python imports vLLM.

    prefetching.py --model=… …     the server. A child process copies
    prefetching.py copy            the copier: divides the files among processes, and says how it went
    prefetching.py part            one of these processes: reads ranges that stdin names

`prefetch_loader.py` waits for the copy and loads from it. Whatever goes wrong here, it streams from S3 as ever.
It needs Python 3.10 and boto3, which the engine's image has. An annotation brings this file.
"""

from __future__ import annotations

import json
import os
import queue
import runpy
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = "vllm.entrypoints.openai.api_server"
PART = 32 * 2**20
"""Bytes of one request. Larger ones leave connections idle at the end, smaller ones wait more often for S3."""
MOST_PROCESSES = 16
CONNECTIONS = 4
"""Of each process: one connection to Amazon S3 gives some 90 MB/s, and one process can read more."""
TRIES = 3
NICENESS = 5
"""The import of vLLM goes first where there are few cores."""
WORK, WEIGHTS, SAID, BEAT = "copying", "weights", "said.json", "beat"
"""Below the folder: the files on their way, the whole ones, how it went, and when the last part came."""


class NotCopied(Exception):
    """The weights are not there, and will not be."""


@dataclass(frozen=True)
class Source:
    """Where the weights lie and where they go. `keeps_free` bytes of the memory are left to the engine."""

    bucket: str
    prefix: str
    folder: Path
    keeps_free: int

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Source:
        bucket, _, prefix = env["GENAI_PREFETCH_FROM"].removeprefix("s3://").partition("/")
        return cls(bucket, prefix, Path(env["GENAI_PREFETCH_FOLDER"]), int(env["GENAI_PREFETCH_KEEPS_FREE"]))


def decide(folder: Path, why: str) -> str:
    """Say once and for all how the copy went, and return what was said first. An empty text means that it is whole."""
    fresh = folder / f"{SAID}.{os.getpid()}.{threading.get_ident()}"
    fresh.write_text(json.dumps(why))
    with suppress(FileExistsError):
        os.link(fresh, folder / SAID)
    fresh.unlink()
    return said(folder) or ""


def said(folder: Path) -> str | None:
    """Return why the weights are not there, an empty text if they are, or None while they are copied."""
    with suppress(FileNotFoundError):
        return json.loads((folder / SAID).read_text())
    return None


def room(folder: Path, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many bytes of memory the pod may still take: of its volume, of its limit, and of the node."""
    found = [shutil.disk_usage(folder).free]
    with suppress(OSError, ValueError):  # `max` where there is no limit
        found.append(int((cgroup / "memory.max").read_text()) - int((cgroup / "memory.current").read_text()))
    with suppress(OSError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(found)


def wanted(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files that the streamer would load, and the index that tells what is in them."""
    files = [f for f in manifest["files"] if "/" not in f["path"]]
    kept = [f for f in files if f["path"].endswith((".safetensors", ".safetensors.index.json"))]
    if not any(f["path"].endswith(".safetensors") for f in kept):
        raise NotCopied("the manifest names no safetensors")
    return kept


def copy(source: Source, processes: int) -> str:
    """Copy the weights. Returns: What to log. Raises: NotCopied, and what boto3 raises."""
    begun = time.monotonic()
    body = s3().get_object(Bucket=source.bucket, Key=f"{source.prefix}manifest.json")["Body"].read()
    files = wanted(json.loads(body))
    (source.folder / BEAT).touch()
    size, free = sum(f["size"] for f in files), room(source.folder) - source.keeps_free
    if size > free:
        raise NotCopied(f"the weights have {size} bytes, and there is room for {max(0, free)}")
    work = source.folder / WORK
    work.mkdir()
    for file in files:
        with (work / file["path"]).open("wb") as made:
            made.truncate(file["size"])
    parts = [(f["path"], f["etag"], at, min(PART, f["size"] - at)) for f in files for at in range(0, f["size"], PART)]
    count = max(1, min(processes, MOST_PROCESSES, len(parts)))
    _run(source, [parts[number::count] for number in range(count)])
    work.rename(source.folder / WEIGHTS)
    seconds = time.monotonic() - begun
    return f"copied {size / 1e9:.2f} GB in {seconds:.1f} s ({size / 1e9 / seconds:.2f} GB/s), {count} processes"


def _run(source: Source, shares: Sequence[Sequence[Any]]) -> None:
    """Run a process for each share until all are done. Raises: NotCopied: one failed, or a loader gave up."""
    command = [sys.executable, __file__, "part"]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in shares]
    failed: queue.Queue[str] = queue.Queue()

    def follow(process: subprocess.Popen[bytes], share: Sequence[Any]) -> None:
        assert process.stdin
        assert process.stdout
        with suppress(OSError):
            process.stdin.write(json.dumps(share).encode() + b"\n")
            process.stdin.flush()  # and stays open: its end tells the process that the copier is gone
        for line in process.stdout:
            (source.folder / BEAT).touch()
            if line.startswith(b"!"):
                failed.put(line[1:].decode().strip())
        if process.wait():
            failed.put(f"a process of the copy ended with {process.returncode}")

    threads = [threading.Thread(target=follow, args=pair, daemon=True) for pair in zip(running, shares, strict=True)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            threads[0].join(0.05) if threads[0].is_alive() else time.sleep(0.05)
            if not failed.empty() or said(source.folder):
                break
        if not failed.empty() or said(source.folder):
            raise NotCopied(said(source.folder) or failed.get())
    finally:
        for process in running:
            process.kill()


def part(source: Source) -> None:
    """Read the ranges that stdin names, several at a time, and end when the copier does."""
    os.nice(NICENESS)
    todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for one in json.loads(sys.stdin.buffer.readline()):
        todo.put(one)
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(1)), daemon=True).start()
    client = s3()

    def work() -> None:
        try:
            while True:
                _fetch(client, source, *todo.get_nowait())
                os.write(1, b".\n")
        except queue.Empty:
            return
        except Exception as error:
            os.write(1, f"!{type(error).__name__}: {error}\n".replace("\n", " ").encode() + b"\n")

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


def _fetch(client: Any, source: Source, path: str, etag: str, at: int, size: int) -> None:
    """Write one range of a file to its place. The ETag is the manifest's, so no other object is taken."""
    for tried in range(TRIES):
        try:
            given = client.get_object(
                Bucket=source.bucket, Key=source.prefix + path, Range=f"bytes={at}-{at + size - 1}", IfMatch=etag
            )
            done = 0
            with (source.folder / WORK / path).open("r+b", buffering=0) as file:
                while chunk := given["Body"].read(2**20):
                    done += os.pwrite(file.fileno(), chunk, at + done)
            if done == size:
                return
            raise NotCopied(f"{path}: {done} of {size} bytes came")
        except Exception:
            if tried == TRIES - 1:
                raise


def s3() -> Any:
    import boto3
    from botocore.config import Config

    # As the streamer asks: another S3 has one name for all its buckets. A range has no checksum of its own.
    style = "path" if os.environ.get("AWS_ENDPOINT_URL") else "virtual"
    config = Config(
        retries={"mode": "standard", "max_attempts": 3},
        connect_timeout=3,
        read_timeout=10,
        max_pool_connections=CONNECTIONS,
        response_checksum_validation="when_required",
        s3={"addressing_style": style},
    )
    return boto3.client("s3", config=config)


def copier() -> None:
    source = Source.of(os.environ)
    try:
        told = copy(source, len(os.sched_getaffinity(0)))
        if why := decide(source.folder, ""):
            raise NotCopied(why)
        log(told)
    except Exception as error:
        why = str(error) if isinstance(error, NotCopied) else f"{type(error).__name__}: {error}"
        log(f"not copied: {decide(source.folder, why)}")
        for left in (WORK, WEIGHTS):
            shutil.rmtree(source.folder / left, ignore_errors=True)


def log(text: str) -> None:
    sys.stdout.write(f"genai-prefetching: {text}\n")
    sys.stdout.flush()


def serve() -> None:
    """Start the copy and become vLLM's server. What an earlier start of the container left is removed."""
    folder = Path(os.environ["GENAI_PREFETCH_FOLDER"])
    try:
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        (folder / BEAT).touch()
        subprocess.Popen([sys.executable, __file__, "copy"])
    except OSError as error:
        log(f"the weights are streamed from S3: {error}")
    sys.argv[0] = SERVER
    runpy.run_module(SERVER, run_name="__main__")


if __name__ == "__main__":
    {"copy": copier, "part": lambda: part(Source.of(os.environ))}.get(sys.argv[1] if sys.argv[1:] else "", serve)()

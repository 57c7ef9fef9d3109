"""Our own images, built from their Dockerfiles with buildah, without a registry.

The base stands in for python:3.12-slim: it borrows the interpreter from its node, as every container there does.
Archives are kept outside the checkout under a digest of what goes into them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.k8s.render import package_version
from images.build import pip_conf
from tests.cluster.machine.door import outside_network

PROJECT = Path(__file__).parents[3]
REGISTRY = "localhost"
SOURCES = {
    "strands-agent": (
        "genai_pipeline/agent/Dockerfile",
        ["images/agent", "genai_pipeline/agent", "constraints.txt"],
    ),
    "chat-ui": (
        "images/chat-ui/Containerfile",
        ["images/chat-ui", "genai_pipeline/local/chat_page.py", "genai_pipeline/local/chat_page.html"],
    ),
}
"""Image -> how it is built, and what goes into it besides the requirements in pyproject.toml."""

_BASE = """\
FROM scratch
COPY root/ /
ENV PATH=/opt/python/bin:/usr/local/bin:/usr/bin:/bin
"""
_PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:2000:2000:app:/tmp:/bin/sh\n"


def own_images() -> list[Path]:
    """Docker archives of our images; builds those that changed. Raises RuntimeError with the build's words."""
    return [_archive(name) for name in SOURCES]


def image_name(name: str) -> str:
    """As the pipeline names it with GENAI_IMAGE_REGISTRY=localhost."""
    return f"{REGISTRY}/genai-pipeline/{name}:{package_version()}"


def _archive(name: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genai-pipeline" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{name}-{_digest(name)}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(prefix="genai-images-") as work:
            builder = _Builder(Path(work))
            os.replace(builder.build(name, folder / f"{name}-{os.getpid()}.new"), archive)
        for old in folder.glob(f"{name}-*.tar"):
            if old != archive:
                old.unlink(missing_ok=True)
    return archive


def _digest(name: str) -> str:
    digest = hashlib.sha256(f"{name} {package_version()} {sys.version} {sys.base_prefix}".encode())
    digest.update(repr(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]).encode())
    for source in SOURCES[name][1]:
        path = PROJECT / source
        files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix != ".pyc" and f.is_file())
        for file in files:
            digest.update(f"{file.relative_to(PROJECT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class _Builder:
    work: Path

    def build(self, name: str, archive: Path) -> Path:
        base, image = f"{REGISTRY}/python:1", image_name(name)
        self._buildah("bud", "--isolation", "chroot", "--quiet", "--tag", base, str(_base_context(self.work)))
        how = ["--isolation", "chroot", "--quiet", "--pull-never", "--build-arg", f"BASE={base}", "--tag", image]
        how += ["--file", SOURCES[name][0], "--secret", f"id=pip.conf,src={pip_conf(self.work)}"]
        for path in ["/usr", sys.base_prefix, "/etc/ssl", *_wheel_folders()]:
            how += ["--volume", f"{path}:{path}:ro"]
        self._buildah("bud", *how, ".")
        self._buildah("push", "--quiet", image, f"docker-archive:{archive}:{image}")
        return archive

    def _buildah(self, *words: str) -> None:
        outside = ["nsenter", f"--net={outside_network()}", "--"]  # there packages can be downloaded
        storage = ["--root", str(self.work / "storage"), "--runroot", str(self.work / "run"), "--storage-driver", "vfs"]
        done = subprocess.run(
            [*outside, "buildah", *storage, *words],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"buildah {' '.join(words)}:\n{done.stdout[-4000:]}")


def _base_context(work: Path) -> Path:
    root = work / "base" / "root"
    for folder in ("tmp", "etc", "root", "opt/python/bin"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    (root / "opt/python/bin/python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    (root / "etc/passwd").write_text(_PASSWD)
    (root.parent / "Containerfile").write_text(_BASE)
    return root.parent


def _wheel_folders() -> Sequence[str]:
    folder = os.environ.get("PIP_FIND_LINKS", "")
    return [folder] if folder.startswith("/") and Path(folder).is_dir() else []

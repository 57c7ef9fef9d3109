"""Our own images, built with buildah from their Dockerfiles, without a registry: `python -m tests.cluster.life.images`.

On the real node they stand on a base in place of python:3.12-slim: it borrows the interpreter from its node, as every
container there does. `make agent-image` builds the agent's on Debian's packages.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from genai_pipeline.k8s.render import package_version
from images.build import pip_conf
from tests.cluster.life.image_cache import kept, run_with_buildah

REGISTRY = "localhost"
NEEDED = ("buildah", "runc", "apt-get", "nsenter", "unshare")
SOURCES = {
    "strands-agent": (
        "genai_pipeline/agent/Dockerfile",
        ["images/build_steps", "genai_pipeline/agent", "constraints.txt"],
        ["agent"],
    ),
    "chat-ui": (
        "images/chat-ui/Containerfile",
        ["images/chat-ui", "genai_pipeline/local/chat_page.py", "genai_pipeline/local/chat_page.html"],
        [],
    ),
}
"""Image -> how it is built, what goes into it, and the extras of pyproject.toml whose requirements do."""

_BASE = """\
FROM scratch
COPY root/ /
ENV PATH=/opt/python/bin:/usr/local/bin:/usr/bin:/bin
"""
_PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:2000:2000:app:/tmp:/bin/sh\npostgres:x:999:999:postgres:/tmp:/bin/sh\n"


def can_build() -> bool:
    """Are this user and this machine able to build images?"""
    return os.geteuid() == 0 and all(map(shutil.which, NEEDED))


def own_images() -> list[Path]:
    """Docker archives of our images; builds those that changed. Raises RuntimeError with the build's words."""
    python = f"{package_version()} {sys.version} {sys.base_prefix}"
    return [
        kept(name, sources, python, partial(_build, name), extras) / "image.tar"
        for name, (_, sources, extras) in SOURCES.items()
    ]


def agent_image() -> Path:
    """The folder with what `make agent-image` makes: a docker archive, an SBOM. Raises RuntimeError as above."""
    sources = [*SOURCES["strands-agent"][1], "genai_pipeline/__init__.py"]
    return _on_debian("agent", sources, SOURCES["strands-agent"][2])


def pipeline_image() -> Path:
    """The same of `make pipeline-image`."""
    sources = ["images/pipeline", "images/build_steps", "genai_pipeline", "models", "constraints.txt"]
    return _on_debian("pipeline", sources, ["eks"])


def _on_debian(name: str, sources: Sequence[str], extras: Sequence[str]) -> Path:
    debian = repr(platform.freedesktop_os_release())

    def build(work: Path, folder: Path) -> None:
        run_with_buildah(work, sys.executable, "images/build.py", name, "--archive", "--out", str(folder))

    return kept(f"debian-{name}", [*sources, "images/build.py"], debian, build, extras)


def image_name(name: str) -> str:
    """As the pipeline names it with GENAI_IMAGE_REGISTRY=localhost."""
    return f"{REGISTRY}/genai-pipeline/{name}:{package_version()}"


def _build(name: str, work: Path, folder: Path) -> None:
    base, image = f"{REGISTRY}/python:1", image_name(name)
    bud = ["buildah", "bud", "--isolation", "chroot", "--quiet"]
    run_with_buildah(work, *bud, "--tag", base, str(_base_context(work)))
    how = ["--pull-never", "--build-arg", f"BASE={base}", "--tag", image]
    how += ["--file", SOURCES[name][0], "--secret", f"id=pip.conf,src={pip_conf(work)}"]
    for path in ["/usr", sys.base_prefix, "/etc/ssl", *_wheel_folders()]:
        how += ["--volume", f"{path}:{path}:ro"]
    run_with_buildah(work, *bud, *how, ".")
    run_with_buildah(work, "buildah", "push", "--quiet", image, f"docker-archive:{folder / 'image.tar'}:{image}")


def borrowing_root(root: Path) -> None:
    """Write what an image needs whose programs are those of its node."""
    for folder in ("tmp", "etc", "root"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    (root / "etc/passwd").write_text(_PASSWD)


def _base_context(work: Path) -> Path:
    root = work / "base" / "root"
    borrowing_root(root)
    (root / "opt/python/bin").mkdir(parents=True)
    (root / "opt/python/bin/python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    (root.parent / "Containerfile").write_text(_BASE)
    return root.parent


def _wheel_folders() -> Sequence[str]:
    folder = os.environ.get("PIP_FIND_LINKS", "")
    return [folder] if folder.startswith("/") and Path(folder).is_dir() else []


def main() -> None:
    """Build what the tests need, once."""
    if can_build():
        for image in [*own_images(), agent_image()]:
            print(f"image: {image}")  # noqa: T201


if __name__ == "__main__":
    main()

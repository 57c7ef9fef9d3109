"""Build an image with buildah, without a container engine: `python images/build.py agent|pipeline|chat`.

Without --base the image is built on Debian's packages, which apt of this machine fetches: no registry is used. The
packages are unpacked and not installed, so the served image has no shell and no package manager.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Image:
    """One image. `root`: the folder of its packages, where its SBOM is too, or an empty text without packages."""

    name: str
    file: str
    root: str = ""


IMAGES = {
    "agent": Image("strands-agent", "genai_pipeline/agent/Dockerfile", "opt/agent"),
    "pipeline": Image("pipeline", "images/pipeline/Containerfile", "opt/genai"),
    "chat": Image("chat-ui", "images/chat-ui/Containerfile"),
}
PYTHON = ("python3", "libpython3-stdlib", "libstdc++6", "ca-certificates", "netbase", "tzdata")
BUILD = (*PYTHON, "python3-pip", "dash", "coreutils")
NO_USE = frozenset({"debconf", "dpkg", "openssl", "tar"})
"""Dependencies that only the installation of Debian's packages needs."""
_CONTAINERFILE = "FROM scratch\nCOPY root/ /\nENV PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8\n"
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nagent:x:2000:2000:agent:/tmp:/usr/sbin/nologin\n"


def main(words: Sequence[str] | None = None) -> None:
    given = argparse.ArgumentParser(prog="images/build.py", description="Build an image with buildah.")
    given.add_argument("image", choices=IMAGES)
    given.add_argument(
        "--base", default=os.environ.get("BASE", ""), help="a base with Python; by default Debian's packages"
    )
    given.add_argument("--tag", default="", help="name of the image")
    given.add_argument("--out", default="dist", help="folder of the SBOM and, with --archive, of the image")
    given.add_argument("--archive", action="store_true", help="write the image as a docker-archive too")
    options = given.parse_args(words)
    if not shutil.which("buildah"):
        sys.exit("error: buildah is missing. Install it (apt-get install buildah), or build with docker or podman.")
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    image = IMAGES[options.image]
    tag = options.tag or f"localhost/genai-pipeline/{image.name}:{version}"
    with tempfile.TemporaryDirectory(prefix="genai-images-") as work:
        bases = [f"BASE={options.base}"] if options.base else debian_bases(Path(work))
        build(image, Path(work), tag, version, bases, (PROJECT / options.out).absolute(), options.archive)


def build(image: Image, work: Path, tag: str, version: str, bases: Sequence[str], out: Path, archive: bool) -> None:
    """Build the image as `tag`, and write its SBOM into `out` where it has packages."""
    arguments = [*bases, f"VERSION={version}", f"REVISION={revision()}"]
    # Only on a base that stays the same does the next build find the stages of this one.
    how = ["--isolation", "chroot", *(["--layers"] if len(bases) == 1 else []), "--file", image.file]
    settings = pip_conf(work)
    how += ["--secret", f"id=pip.conf,src={settings}"]
    how += [word for path in paths_of(settings) for word in ("--volume", f"{path}:{path}:ro")]
    how += [word for argument in arguments for word in ("--build-arg", argument)]
    out.mkdir(parents=True, exist_ok=True)
    buildah_bud(tag, *how, ".")
    made = out / f"{image.name}-{version}"
    print(tag)
    if image.root:
        sbom = made.with_name(f"{made.name}.cdx.json")
        sbom.write_text(read_from_image(tag, f"{image.root}/sbom.cdx.json"))
        print(sbom)
    if archive:
        tar = made.with_name(f"{made.name}.tar")
        tar.unlink(missing_ok=True)
        buildah("push", "--quiet", tag, f"docker-archive:{tar}:{tag}")


def debian_bases(work: Path) -> list[str]:
    """Build two bases of Debian's packages: one to serve, and one with the build tools."""
    if not shutil.which("apt-get"):
        sys.exit("error: without --base (BASE=…) the base is built of Debian's packages, which needs apt-get.")
    bases: list[str] = []
    for name, packages in (("BASE", PYTHON), ("BUILD_BASE", BUILD)):
        tag, context = f"localhost/genai-pipeline/debian-{name.lower().replace('_', '-')}:1", work / name
        debian_root(context / "root", packages, work / "apt")
        (context / "Containerfile").write_text(_CONTAINERFILE)
        buildah_bud(tag, "--isolation", "chroot", "--quiet", str(context))
        shutil.rmtree(context)
        bases.append(f"{name}={tag}")
    return bases


def debian_root(root: Path, packages: Sequence[str], state: Path) -> None:
    """Unpack packages and their dependencies. Their scripts do not run; the needed part of them is done below."""
    for folder in (
        "tmp",
        "etc/ssl/certs",
        "var/lib/dpkg/status.d",
        "root",
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    for package in fetched(packages, state):
        if packages == PYTHON and package.name.split("_")[0] in NO_USE:
            continue
        tar = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        unpack = ["tar", "-x", "--keep-directory-symlink", "-C", str(root)]
        subprocess.run([*unpack, *_NOT_READ], stdin=tar.stdout, check=True)
        if tar.wait():
            sys.exit(f"error: {package.name} cannot be unpacked.")
        about = subprocess.run(["dpkg-deb", "--field", str(package)], check=True, capture_output=True).stdout
        (root / "var/lib/dpkg/status.d" / package.name.split("_")[0]).write_bytes(about)
    (root / "etc/passwd").write_text(_PASSWD)
    (root / "etc/group").write_text("root:x:0:\nagent:x:2000:\n")
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(b"".join(c.read_bytes() for c in certificates))
    if (root / "usr/bin/dash").exists():
        (root / "usr/bin/sh").unlink(missing_ok=True)
        (root / "usr/bin/sh").symlink_to("dash")


_NOT_READ = [
    f"--exclude={path}" for path in ("./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/share/lintian")
]


def fetched(packages: Sequence[str], state: Path) -> list[Path]:
    """Return the packages with their dependencies, from apt's own sources but for an empty system.

    The result includes the packages of earlier calls with the same `state`: ask for the smaller set first.
    """
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = ["Dir::State::Lists=" + str(state / "lists"), "Dir::State::status=" + str(state / "status")]
    options += ["Dir::Cache::archives=" + str(state / "archives"), "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache="]
    options += ["Debug::NoLocking=1", "APT::Sandbox::User=root", "APT::Install-Recommends=0", "Dpkg::Use-Pty=0"]
    apt = ["apt-get", "--quiet=2", *(word for option in options for word in ("-o", option))]
    if not list((state / "lists").glob("*Packages*")):
        _quietly([*apt, "update"])
    _quietly([*apt, "install", "--yes", "--download-only", *packages])
    return sorted((state / "archives").glob("*.deb"))


def read_from_image(tag: str, path: str) -> str:
    """Return a file of an image that has no program to print it."""
    script = 'c=$(buildah from --pull-never "$1") && m=$(buildah mount "$c") && cat "$m/$2"; buildah rm "$c" >/dev/null'
    alone = [] if os.geteuid() == 0 else ["buildah", "unshare"]
    return subprocess.run(
        [*alone, "sh", "-c", script, "sh", tag, path], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def buildah_bud(tag: str, *words: str) -> None:
    """Build an image, and remove the one that had its name, unless that has another name too."""
    before = _id_of(tag)
    buildah("bud", "--tag", tag, *words)
    if before and before != _id_of(tag):
        subprocess.run(["buildah", "rmi", before], capture_output=True, check=False)


def _id_of(tag: str) -> str:
    asked = ["buildah", "images", "--quiet", "--no-trunc", tag]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def buildah(*words: str) -> None:
    done = subprocess.run(["buildah", *words], cwd=PROJECT, check=False)
    if done.returncode:
        sys.exit(f"error: buildah {words[0]} failed; see its output above.")


def pip_conf(work: Path) -> Path:
    """Write this machine's settings of pip, from its files and from PIP_* variables."""
    settings = ConfigParser(strict=False, interpolation=None)
    settings.read(["/etc/pip.conf", Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"])
    own = {key.removeprefix("PIP_"): value for key, value in os.environ.items() if key.startswith("PIP_")}
    settings.read_dict({"global": {key.lower().replace("_", "-"): value for key, value in own.items()}})
    with (work / "pip.conf").open("w") as file:
        settings.write(file)
    return work / "pip.conf"


def paths_of(pip_conf: Path) -> list[str]:
    """Return the files and folders that the settings of pip name: certificates, folders of wheels."""
    settings = ConfigParser(strict=False, interpolation=None)
    settings.read(pip_conf)
    words = [word for section in settings.values() for value in section.values() for word in value.split()]
    return sorted({word for word in words if word.startswith("/") and Path(word).exists()})


def revision() -> str:
    git = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})
    if done.returncode:
        sys.exit(f"error: {command[0]} {command[-1]} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()

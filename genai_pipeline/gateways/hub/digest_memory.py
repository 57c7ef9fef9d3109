"""The sha256 of files whose source publishes no digests: computed once, and kept in the bucket.

    sources/<sha1 of the address>.json    path -> identity, size, sha256; and the paths that changed last

If it is lost, the files are read once more.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from genai_pipeline.core.errors import GenaiError, NotFound, NotReady, RevisionNotFound, Unavailable
from genai_pipeline.gateways.hub.source_files import FileChanged, ListedFile, SourceFiles
from genai_pipeline.gateways.store.abc import ObjectStore

READERS = 4
SAVE_EVERY_S = 5.0
STALLED_AFTER_S = 300.0
_GB = 1e9


@dataclass(frozen=True)
class _Known:
    identity: str
    size: int
    sha256: str


class DigestMemory:
    """Digests of one address. Thread-safe. The reading goes on when a caller stops waiting.

    Args:
        files: the files of the address.
        store: where the digests are kept.
        place: what tells this address from others.

    Attributes:
        changed: the paths whose content changed when files were last read.
    """

    def __init__(self, files: SourceFiles, store: ObjectStore, place: str) -> None:
        self._files = files
        self._store = store
        self._key = f"sources/{hashlib.sha1(place.encode(), usedforsecurity=False).hexdigest()}.json"
        self._known: dict[str, _Known] = {}
        self._loaded = False
        self._reading: _Reading | None = None
        self._lock = threading.Lock()
        self.changed: tuple[str, ...] = ()

    def digests(self, listed: Iterable[ListedFile], wait_s: float | None) -> dict[str, str]:
        """Return path -> sha256 of every file listed.

        Args:
            wait_s: seconds to wait for new files to be read; None waits for the end.
        Raises: NotReady: new files are still being read after `wait_s`, or the reading does not go on.
            RevisionNotFound: a file changed meanwhile.
        """
        listed = list(listed)
        with self._lock:
            unknown = self._unknown(listed)
            if unknown and not self._loaded:
                self._load()
                unknown = self._unknown(listed)
            if unknown and self._reading is None:
                self._reading = _Reading(self._files, unknown)
            reading = self._reading
        if unknown and reading:
            self._wait(reading, wait_s)
            return self.digests(listed, wait_s)
        return {file.path: self._known[file.path].sha256 for file in listed}

    def _unknown(self, listed: list[ListedFile]) -> list[ListedFile]:
        for file in listed:
            if file.sha256:
                self._known[file.path] = _Known(file.identity, file.size, file.sha256)
        return [f for f in listed if not self._knows(f)]

    def _knows(self, file: ListedFile) -> bool:
        known = self._known.get(file.path)
        return known is not None and (known.identity, known.size) == (file.identity, file.size)

    def _wait(self, reading: _Reading, wait_s: float | None) -> None:
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while not reading.ended.wait(SAVE_EVERY_S if deadline is None else max(0.0, deadline - time.monotonic())):
            self._keep(reading)
            if deadline is not None or reading.stalled:
                done, total = reading.bytes_read / _GB, reading.bytes_total / _GB
                raise NotReady(
                    f"The digests of {self._files.address} are being computed: {done:.2f} of {total:.2f} GB are read.",
                    "Ask again later; the reading goes on.",
                )
        self._keep(reading)
        with self._lock:
            self._reading = None if self._reading is reading else self._reading
        if reading.error:
            raise reading.error

    def _keep(self, reading: _Reading) -> None:
        with self._lock:
            found = {f.path: _Known(f.identity, f.size, sha256) for f, sha256 in list(reading.found.items())}
            new = {path: known for path, known in found.items() if self._known.get(path) != known}
            if new:
                before = {path: known.sha256 for path, known in self._known.items()}
                reading.changed |= {path for path in new if before.get(path) != new[path].sha256}
                self.changed = tuple(sorted(reading.changed))
                self._known |= new
                self._save()

    def _load(self) -> None:
        self._loaded = True
        try:
            data: Mapping[str, Any] = json.loads(self._store.get(self._key)[0])
            known = {path: _Known(**entry) for path, entry in data["files"].items()}
            self.changed = tuple(data["changed"])
        except NotFound:
            return
        except Unavailable:
            if self._store.writable:
                raise
            return  # a reader that keeps nothing reads the files once more
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # not a memory of digests: everything is read once more
        self._known = known | self._known

    def _save(self) -> None:
        if not self._store.writable or not self._store.exists():
            return  # a plan must not create the bucket, and some servers create it with the first object
        content = {
            "address": self._files.address,
            "changed": self.changed,
            "files": {path: asdict(known) for path, known in sorted(self._known.items())},
        }
        self._store.put(self._key, json.dumps(content).encode())


class _Reading:
    """Daemon threads that hash files, the largest first. A process that ends does not wait for them."""

    def __init__(self, files: SourceFiles, todo: Iterable[ListedFile]) -> None:
        self._files = files
        self._todo = deque(sorted(todo, key=lambda f: -f.size))
        self._lock = threading.Lock()
        self._moved_at = time.monotonic()
        self.bytes_total = sum(file.size for file in self._todo)
        self.bytes_read = 0
        self.found: dict[ListedFile, str] = {}
        self.changed: set[str] = set()
        self.error: GenaiError | None = None
        self.ended = threading.Event()
        self._running = min(READERS, len(self._todo))
        for _ in range(self._running):
            threading.Thread(target=self._work, name="source-digest", daemon=True).start()

    @property
    def stalled(self) -> bool:
        return time.monotonic() - self._moved_at > STALLED_AFTER_S

    def _work(self) -> None:
        try:
            while self.error is None:
                with self._lock:
                    file = self._todo.popleft() if self._todo else None
                if file is None:
                    break
                self.found[file] = self._sha256(file)
        except FileChanged as error:
            self.error = changed_meanwhile(self._files.address, str(error))
        except GenaiError as error:
            self.error = error
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self.ended.set()

    def _sha256(self, file: ListedFile) -> str:
        digest = hashlib.sha256()
        for chunk in self._files.read(file):
            digest.update(chunk)
            with self._lock:
                self.bytes_read += len(chunk)
                self._moved_at = time.monotonic()
        return digest.hexdigest()


def changed_meanwhile(address: str, path: str) -> RevisionNotFound:
    return RevisionNotFound(
        f"{address}: {path} changed or disappeared while it was read.",
        "Nothing was staged. The content that is there now is a revision of its own: stage that.",
    )

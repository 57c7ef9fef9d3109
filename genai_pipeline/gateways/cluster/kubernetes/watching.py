"""Lists and watches objects in threads that feed one queue. Nothing polls.

A watch that ends, breaks or falls silent is opened again at the last version seen. Where the server no longer has that
version (410) everything is listed again. The official client's `Watch` reads the stream. It has no deadline, no
back-off and no end for a silent stream, so these are here.

Source: Kubernetes documentation, "Efficient detection of changes".
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.errors import ClusterUnavailable, GenaiError
from genai_pipeline.gateways.cluster.kinds import KINDS
from genai_pipeline.gateways.cluster.kubernetes.connection import (
    Connection,
    Deadline,
    ForgottenVersion,
    TemporaryAnswer,
    pause_s,
)

WATCH_S = 300
SILENCE_S = 65.0
"""The server sends a bookmark each minute. Only a dead watch is silent for longer."""
FIRST_PAUSE_S = 0.05


@dataclass
class Watched:
    """The objects of one kind as last seen, by name. Read it from any thread.

    Args:
        listed: whether the server has answered yet.
        trouble: why it does not answer now, or an empty text where it does.
    """

    kind: str
    listed: bool = False
    trouble: str = ""
    _objects: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [found for _, found in sorted(self._objects.items())]

    def replace(self, objects: Mapping[str, dict[str, Any]]) -> None:
        self._objects, self.listed = objects, True  # a new mapping each time: a reader never sees half a change

    def put(self, name: str, obj: dict[str, Any] | None) -> None:
        rest = {n: o for n, o in self._objects.items() if n != name}
        self._objects = rest | ({name: obj} if obj is not None else {})


class Watching:
    """Several watches with one queue. Use it as a context manager; its end stops the threads.

    Args:
        deadline: no call goes on after it.
    """

    def __init__(self, connection: Connection, namespace: str, deadline: Deadline) -> None:
        self.connection, self.namespace, self.deadline = connection, namespace, deadline
        self.changes: queue.SimpleQueue[GenaiError | None] = queue.SimpleQueue()
        self.over = threading.Event()
        self._watches: list[_Watch] = []

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for watch in self._watches:
            watch.stop()

    def watch(self, kind: str, selectors: Mapping[str, str], silence_s: float = SILENCE_S) -> Watched:
        """Begin to watch. `selectors`: `labelSelector` or `fieldSelector` -> its text.

        Raises: ClusterUnavailable: there is no usable kubeconfig. Waiting would not help.
        """
        self.connection.client()
        watch = _Watch(self, kind, selectors, silence_s)
        self._watches.append(watch)
        watch.start()
        return watch.watched

    def wait(self, most_s: float) -> bool:
        """Wait until something changes; False at the time limit. Raises the error that ended a watch."""
        try:
            changes = [self.changes.get(timeout=max(0.0, most_s))]
        except queue.Empty:
            return False
        while not self.changes.empty():
            changes.append(self.changes.get())
        for error in changes:
            if error:
                raise error
        return True

    @property
    def trouble(self) -> str:
        """Return why a watch gets no answers now, or an empty text where all do."""
        return next((w.watched.trouble for w in self._watches if w.watched.trouble), "")


class _Watch(threading.Thread):
    def __init__(self, owner: Watching, kind: str, selectors: Mapping[str, str], silence_s: float) -> None:
        from kubernetes.watch import Watch

        super().__init__(name=f"watch-{kind}", daemon=True)
        self.watched = Watched(kind)
        self._owner, self._kind, self._silence_s = owner, KINDS[kind], silence_s
        self._selectors = sorted(selectors.items())
        self._version = ""
        self._reader = Watch()

    def run(self) -> None:
        failures = 0
        while not self._owner.over.is_set():
            asked_s = None
            try:
                if not self._version:
                    self._list()
                if self._follow():
                    failures = 0
                self.watched.trouble = ""
            except ForgottenVersion:
                self._version = ""
            except OSError as error:
                asked_s = error.asked_s if isinstance(error, TemporaryAnswer) else None
                self.watched.trouble = str(error)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                self._version, self.watched.trouble = "", f"an answer that is not the API's ({error!r})"
            except GenaiError as error:
                if self._ends_with(error):
                    return
            failures += 1
            self._owner.over.wait(pause_s(failures, asked_s, FIRST_PAUSE_S))

    def stop(self) -> None:
        self._reader.stop()

    def _ends_with(self, error: GenaiError) -> bool:
        """Return whether trying again is useless. How long to bear a silent API is for the waiter to decide."""
        if isinstance(error, ClusterUnavailable):
            self.watched.trouble = error.what.rstrip(".")
            return self._owner.deadline.over
        self._owner.changes.put(error)
        return True

    def _list(self) -> None:
        request = self._kind.request("list", self._owner.namespace)
        answer = self._owner.connection.call(request, self._selectors, deadline=self._owner.deadline).content
        self.watched.replace({o["metadata"]["name"]: o for o in answer.get("items") or []})
        self._version = answer["metadata"]["resourceVersion"]
        self._owner.changes.put(None)

    def _follow(self) -> bool:
        """Follow one stream to its end; return whether it brought anything. Raises OSError when it breaks."""
        import urllib3
        from kubernetes.client.exceptions import ApiException

        brought = False
        try:
            for event in self._reader.stream(self._open, timeout_seconds=WATCH_S):
                brought = self._take(event) or brought
                if self._owner.over.is_set():
                    break
        except ApiException:  # an event of the type ERROR, above all 410: the version is too old
            self._version = ""
        except (urllib3.exceptions.HTTPError, AttributeError) as error:
            raise ConnectionError(f"the watch broke ({error})") from error
        return brought

    def _open(self, **_: Any) -> Any:
        """Return the open stream, for `Watch`. Raises as `Connection.stream` does."""
        query = [*self._selectors, ("watch", "true"), ("allowWatchBookmarks", "true")]
        query += [("resourceVersion", self._version), ("timeoutSeconds", WATCH_S)]
        silence_s = min(self._silence_s, self._owner.deadline.left_s + 1)
        request = self._kind.request("watch", self._owner.namespace)
        stream = self._owner.connection.stream(request, query, silence_s)
        if self._owner.over.is_set():
            stream.close()  # `stop` came before there was a stream to end
            raise ConnectionError("the wait is over")
        self.watched.trouble = ""
        return stream

    def _take(self, event: Any) -> bool:
        obj = event["object"]
        self._version = obj["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            self.watched.put(obj["metadata"]["name"], None if event["type"] == "DELETED" else obj)
            self._owner.changes.put(None)
        return True

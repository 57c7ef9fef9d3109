"""Lists and watches objects in threads that feed one queue: what is seen first is told first, and nothing polls.

A watch that ends, breaks or falls silent is taken up again from the last version seen; where the server no longer
has that version (410) everything is listed anew. Source: Kubernetes documentation, "Efficient detection of changes".
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.errors import ClusterUnavailable, GenaiError
from genai_pipeline.gateways.cluster.kubernetes.answers import Request
from genai_pipeline.gateways.cluster.kubernetes.connection import Connection, TemporaryAnswer, TooOld
from genai_pipeline.gateways.cluster.kubernetes.kinds import KINDS
from genai_pipeline.gateways.cluster.kubernetes.retrying import Backoff, Deadline

WATCH_S = 300
SILENCE_S = 65.0
"""Longer than the minute in which the server sends a bookmark: only a dead watch is silent for so long."""


@dataclass(frozen=True)
class Change:
    """Something new about what is watched. `error` ends the watch; `trouble` says why it is being tried again."""

    error: GenaiError | None = None
    trouble: str = ""


@dataclass
class Watched:
    """The objects of one kind as last seen, by name. Read it from any thread."""

    kind: str
    listed: bool = False
    trouble: str = ""
    _objects: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [found for _, found in sorted(self._objects.items())]

    def replace(self, objects: Mapping[str, dict[str, Any]]) -> None:
        self._objects, self.listed = objects, True  # a new mapping each time: readers never see one half changed

    def put(self, name: str, obj: dict[str, Any] | None) -> None:
        rest = {n: o for n, o in self._objects.items() if n != name}
        self._objects = rest | ({name: obj} if obj is not None else {})


class Watching:
    """Several watches, one queue. Use as a context manager; leaving it ends the threads.

    Args: deadline: no call goes on after it.
    """

    def __init__(self, connection: Connection, namespace: str, deadline: Deadline) -> None:
        self._connection, self._namespace, self._deadline = connection, namespace, deadline
        self._changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._over = threading.Event()
        self._watches: list[_Watch] = []

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for watch in self._watches:
            watch.stop()

    def watch(self, kind: str, selectors: Mapping[str, str], silence_s: float = SILENCE_S) -> Watched:
        """Begin to watch. `selectors`: ``labelSelector`` or ``fieldSelector`` -> its text.

        Raises ClusterUnavailable where there is no usable kubeconfig: that no waiting will mend.
        """
        self._connection.client()
        watch = _Watch(self, kind, selectors, silence_s)
        self._watches.append(watch)
        watch.start()
        return watch.watched

    def wait(self, most_s: float) -> bool:
        """Until something changed; False at the time limit. Raises the error that ended a watch."""
        try:
            changes = [self._changes.get(timeout=max(0.0, most_s))]
        except queue.Empty:
            return False
        while not self._changes.empty():
            changes.append(self._changes.get())
        for change in changes:
            if change.error:
                raise change.error
        return True

    @property
    def trouble(self) -> str:
        """Why a watch does not get answers now; empty where all do."""
        return next((w.watched.trouble for w in self._watches if w.watched.trouble), "")


class _Watch(threading.Thread):
    def __init__(self, owner: Watching, kind: str, selectors: Mapping[str, str], silence_s: float) -> None:
        super().__init__(name=f"watch-{kind}", daemon=True)
        self.watched = Watched(kind)
        self._owner, self._silence_s = owner, silence_s
        self._kind = KINDS[kind]
        self._selectors = sorted(selectors.items())
        self._version = ""
        self._stream: Any = None

    def run(self) -> None:
        backoff = Backoff(first_s=0.05)
        while not self._owner._over.is_set():
            asked_s = None
            try:
                if not self._version:
                    self._list()
                if self._follow():
                    backoff.reset()
                self.watched.trouble = ""
            except TooOld:
                self._version = ""
            except OSError as error:
                asked_s = error.pause_s if isinstance(error, TemporaryAnswer) else None
                self.watched.trouble = str(error)
            except (KeyError, TypeError, AttributeError) as error:
                self._version, self.watched.trouble = "", f"an answer that is none of the API's ({error!r})"
            except GenaiError as error:
                if self._ended_by(error):
                    return
            self._owner._over.wait(backoff.next_s(asked_s))

    def stop(self) -> None:
        stream = self._stream
        if stream is not None:
            try:
                stream.shutdown()
            except (OSError, ValueError, RuntimeError):
                return  # it has ended on its own meanwhile

    def _ended_by(self, error: GenaiError) -> bool:
        """Whether nothing will come of trying again. When to give up on a silent API is the waiter's to say."""
        if isinstance(error, ClusterUnavailable):
            self.watched.trouble = error.what.rstrip(".")
            return self._owner._deadline.over
        self._owner._changes.put(Change(error=error))
        return True

    def _list(self) -> None:
        request = Request("list", self._kind.resource, self._owner._namespace if self._kind.namespaced else "")
        path = self._kind.path(self._owner._namespace)
        answer = self._owner._connection.call(
            request, "GET", path, self._selectors, deadline=self._owner._deadline
        ).content
        self.watched.replace({o["metadata"]["name"]: o for o in answer.get("items") or []})
        self._version = answer["metadata"]["resourceVersion"]
        self._owner._changes.put(Change())

    def _follow(self) -> bool:
        """Follow one watch to its end; whether it brought anything. Raises OSError when it breaks."""
        request = Request("watch", self._kind.resource, self._owner._namespace if self._kind.namespaced else "")
        query = [*self._selectors, ("watch", "true"), ("allowWatchBookmarks", "true")]
        query += [("resourceVersion", self._version), ("timeoutSeconds", WATCH_S)]
        path = self._kind.path(self._owner._namespace)
        silence_s = min(self._silence_s, self._owner._deadline.left_s + 1)
        self._stream = self._owner._connection.stream(request, path, query, silence_s)
        brought = False
        try:
            if self._owner._over.is_set():
                return False
            self.watched.trouble = ""
            for event in events_of(self._stream):
                brought = self._take(event) or brought
        finally:
            stream, self._stream = self._stream, None
            stream.close()
        return brought

    def _take(self, event: Mapping[str, Any]) -> bool:
        obj = event["object"]
        if event["type"] == "ERROR":
            self._version = ""  # 410 Gone above all: what we know is too old, list anew
            return False
        self._version = obj["metadata"]["resourceVersion"]
        if event["type"] != "BOOKMARK":
            self.watched.put(obj["metadata"]["name"], None if event["type"] == "DELETED" else obj)
            self._owner._changes.put(Change())
        return True


def events_of(response: Any) -> Iterator[dict[str, Any]]:
    """The watch's events, one JSON document a line. Raises OSError when the stream breaks."""
    import urllib3

    rest = b""
    try:
        while piece := response.read1(65536):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
        raise ConnectionError(f"the watch broke ({error})") from error

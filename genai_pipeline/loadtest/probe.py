"""Ask a stable address the question of its task while the release behind it changes.

There are two kinds of client, because a change of a Service's selector affects them differently: new connections reach
the new pods at once, kept ones stay with the old pods until those close them. No request is sent again, so that the
count is what a client without retries sees.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.gateways.inference.inference_client import ClientSettings, InferenceClient
from genai_pipeline.gateways.inference.task_endpoint import endpoint_of

KINDS = ("new connection", "keep-alive")
MIN_REQUESTS = 10
_TOKENS = 4
_WORKERS = 16
_KEPT_AT_REST_S = 1.0
"""A connection that was idle for longer is not used again. vLLM closes it after 5 s, with or without a switch, and a
request that is sent just then would count as failed."""
_ROOT_EVERY = 5
"""Every fifth request of a kind also asks which weights are behind the address."""


def _of_each_kind() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


@dataclass
class ProbeResult:
    """What the clients saw.

    Args:
        sent, failed: requests, per kind of connection.
        causes: why requests failed -> how many.
        models: name of the model that answered -> how many.
        roots: where the engine behind the address was loaded from -> how often it reported that, oldest first.
        skipped: requests that were not sent, because all workers were waiting for answers.
        longest_gap_s: longest time without a good answer, in seconds.
    """

    sent: dict[str, int] = field(default_factory=_of_each_kind)
    failed: dict[str, int] = field(default_factory=_of_each_kind)
    causes: dict[str, int] = field(default_factory=dict[str, int])
    models: dict[str, int] = field(default_factory=dict[str, int])
    roots: dict[str, int] = field(default_factory=dict[str, int])
    skipped: int = 0
    longest_gap_s: float = 0.0

    @property
    def total_sent(self) -> int:
        return sum(self.sent.values())

    @property
    def total_failed(self) -> int:
        return sum(self.failed.values())

    @property
    def answered(self) -> int:
        return self.total_sent - self.total_failed


def judge_probe(result: ProbeResult) -> Verdict:
    """Return the verdict `no_failed_request`; inconclusive where too few requests were sent. Pure."""
    table = [{"client": kind, "sent": result.sent[kind], "failed": result.failed[kind]} for kind in KINDS]
    causes = Counter(result.causes).most_common()
    evidence: dict[str, Any] = {
        "clients": table,
        "causes": [{"cause": cause, "requests": n} for cause, n in causes],
        "roots": [{"root": root, "seen": n} for root, n in result.roots.items()],
        "longest_gap_s": round(result.longest_gap_s, 3),
        "skipped": result.skipped,
    }
    said = f"{result.total_failed} of {result.total_sent} requests failed during the switch"
    if not result.total_failed and min(result.sent.values()) < MIN_REQUESTS // len(KINDS):
        return inconclusive("no_failed_request", f"{said}; at least {MIN_REQUESTS} are needed.", **evidence)
    cause = f", mostly: {causes[0][0].rstrip('.')}" if causes else ""
    return judge("no_failed_request", not result.total_failed, f"{said}{cause}.", **evidence)


class ContinuousProbe:
    """Sends `rate_per_s` small requests a second, half of them on new connections, in the background.

        with ContinuousProbe(url, "weather-agent", rate_per_s=10) as probe:
            switch()
            probe.wait_for(lambda seen: seen.answered >= 20, deadline_s=10)
        verdict = judge_probe(probe.result())  # or probe.verdict()

    Leaving the block waits for the requests under way. The probe stops by itself after `max_s` seconds.
    """

    def __init__(
        self,
        url: str,
        model: str,
        task: Task = Task.CHAT,
        rate_per_s: float = 10,
        request_deadline_s: float = 20,
        max_s: float = 900,
    ) -> None:
        self._endpoint = endpoint_of(task)
        self._body = self._endpoint.body(model, "Hello", _TOKENS)
        self._every_s = 1 / rate_per_s
        self._max_s = max_s
        kept = {"new connection": 0, "keep-alive": _WORKERS}
        self._clients = {
            kind: InferenceClient(url, ClientSettings(request_deadline_s, kept=kept[kind], kept_s=_KEPT_AT_REST_S))
            for kind in KINDS
        }
        self._seen = ProbeResult()
        self._last_good, self._ended = 0.0, 0.0
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._free = threading.Semaphore(_WORKERS)
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="probe")
        self._sender = threading.Thread(target=self._send_all, name="probe", daemon=True)

    def __enter__(self) -> ContinuousProbe:
        self._last_good = time.monotonic()
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._sender.join()
        self._workers.shutdown(wait=True)
        self._ended = time.monotonic()
        for client in self._clients.values():
            client.close()

    @property
    def failed(self) -> int:
        return self.result().total_failed

    def result(self) -> ProbeResult:
        """Return what was seen so far. A request counts as sent when it is answered or has failed."""
        with self._changed:
            since_good = (self._ended or time.monotonic()) - self._last_good
            return replace(deepcopy(self._seen), longest_gap_s=max(self._seen.longest_gap_s, since_good))

    def see(self, more: int, deadline_s: float) -> bool:
        """Wait until `more` further requests have ended; return False if the deadline came first."""
        enough = self.result().total_sent + more
        return self.wait_for(lambda seen: seen.total_sent >= enough, deadline_s)

    def verdict(self) -> Verdict:
        """Return the verdict `no_failed_request` on what was seen so far."""
        return judge_probe(self.result())

    def wait_for(self, condition: Callable[[ProbeResult], bool], deadline_s: float) -> bool:
        """Wait until `condition` is true for what was seen so far; return False if the deadline came first."""
        ends_at = time.monotonic() + deadline_s
        while not condition(self.result()):
            left = ends_at - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, 0.25))
        return True

    def _send_all(self) -> None:
        started = due = time.monotonic()
        number = 0
        while not self._stopped.is_set() and time.monotonic() - started < self._max_s:
            if self._free.acquire(blocking=False):
                self._workers.submit(self._send, number)
            else:
                with self._changed:
                    self._seen.skipped += 1
            number += 1
            due = max(due + self._every_s, time.monotonic() - self._every_s)
            self._stopped.wait(max(0.0, due - time.monotonic()))

    def _send(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        client = self._clients[kind]
        model = cause = root = ""
        try:
            reply = client.send("POST", self._endpoint.path, self._body)
            if reply.status == 200:
                answer = self._endpoint.read(reply.content)
                # So few tokens may all belong to marks that no parser shows: an empty completion is no failure here.
                model, cause = answer.model, "" if self._endpoint.task.generates else answer.fault
                root = self._root(client) if number // len(KINDS) % _ROOT_EVERY == 0 else ""
            else:
                cause = f"HTTP {reply.status}: {reply.words}"
        except EngineUnavailable as error:
            cause = f"{kind}: {error.what}"
        except ValueError as error:
            cause = str(error)
        finally:
            self._free.release()
            self._note(kind, model, cause, root)

    def _root(self, client: InferenceClient) -> str:
        """Best effort: other checks judge what serves, and a request must not count as failed for this."""
        try:
            card = json.loads(client.send("GET", "/models").content)["data"][0]
            return str(card.get("root") or "")
        except (EngineUnavailable, ValueError, KeyError, IndexError, TypeError, AttributeError):
            return ""

    def _note(self, kind: str, model: str, cause: str, root: str) -> None:
        with self._changed:
            seen, now = self._seen, time.monotonic()
            seen.sent[kind] += 1
            for name, counts in ((root, seen.roots), (cause, seen.causes), ("" if cause else model, seen.models)):
                if name:
                    counts[name] = counts.get(name, 0) + 1
            if cause:
                seen.failed[kind] += 1
            else:
                seen.longest_gap_s = max(seen.longest_gap_s, now - self._last_good)
                self._last_good = now
            self._changed.notify_all()

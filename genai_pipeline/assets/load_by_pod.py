"""Send the requests of a load test from a pod beside the engine, by Dagster Pipes.

The pod's log carries the messages, so that the pod needs no credentials. What it gives back is what the run itself
would have observed. A pod that does not start, ends early or is lost gives nothing: the verdicts are inconclusive.

Why not `PipesK8sClient` of dagster-k8s: it waits a day for a pod without a node, and follows a silent log for an hour.
A newer release could not interrupt it. It also takes a configuration of the cluster of its own.

Source: Dagster documentation, "Dagster Pipes details and customization".
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster_pipes import PIPES_PROTOCOL_VERSION_FIELD, PipesDefaultMessageWriter
from pydantic import ValidationError

from genai_pipeline.assets.release_asset import OpenSession
from genai_pipeline.core.errors import GenaiError, NotReady, Refused, Superseded
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.diagnosis.pod_readiness import how_it_ended
from genai_pipeline.k8s.load_pod import load_pod_name, render_load_pod
from genai_pipeline.k8s.render import service_url
from genai_pipeline.loadtest.sending import OBSERVATIONS, PLAN, LoadPlan, Sender, send_from_here
from genai_pipeline.loadtest.summary import Observation
from genai_pipeline.resources.engines import Engines

START_S = 300.0
"""A node may have to be started, and the image to be pulled."""
LAST_WORDS_S = 30.0
"""After the deadline of the load: the process starts before it, and says what it saw after it."""
GONE_S = 60.0
_LINES = 15
REMEDY = "Push the image `pipeline` (docs/kubernetes.md, Images), or set GENAI_LOAD_FROM=run."


def sender_of(open_session: OpenSession, engines: Engines, release: Release) -> Sender:
    """Return what sends the load: the run, or a pod where the API server's proxy would add its time to each request.

    A pod that a killed run left over is removed, because the engine's counters would count its requests, too.

    Raises: NotReady, ClusterUnavailable: it cannot be removed.
    """
    chosen = engines.profile.load_from or ("pod" if engines.gateways.cluster.by_proxy else "run")
    if chosen == "run":
        return send_from_here
    pod = LoadPod(open_session, engines, release, service_url(release.object_name, "engine", engines.profile))
    pod.remove_left_over()
    return pod


class LoadPod:
    """A `Sender`. Every load of a release has the same pod, so that what was left over is found by its name.

    Args:
        url: of the engine as a pod reaches it.
    """

    def __init__(self, open_session: OpenSession, engines: Engines, release: Release, url: str) -> None:
        self._open, self._release, self._url = open_session, release, url
        self._cluster, self._profile = engines.gateways.cluster, engines.profile
        self._name = load_pod_name(release)

    def __call__(self, plan: LoadPlan, say: Log) -> Sequence[Observation]:
        """Send the requests of the plan from the pod.

        Raises: NotReady: there are no observations; the message says why. ClusterUnavailable, Superseded.
        """
        plan = replace(plan, base_url=self._url)
        messages = _Messages(say)
        extras = {"plan": PLAN.dump_python(plan, mode="json")}
        with _no_fault_of_the_engine(), self._open(extras, messages) as session:
            self._follow(session.get_bootstrap_env_vars(), plan, messages, say)
        return messages.observations(self._name)

    def remove_left_over(self) -> None:
        with _no_fault_of_the_engine():
            self._cluster.delete("Pod", self._name, GONE_S)

    def _follow(self, env: Mapping[str, str], plan: LoadPlan, messages: "_Messages", say: Log) -> None:
        """Run the pod to its end, and remove it however that comes about: a cancelled run ends here, too."""
        ends_s = plan.deadline_s + LAST_WORDS_S
        try:
            pod = render_load_pod(self._release, self._profile, env, START_S + ends_s)
            self._cluster.apply([pod])
            say(f"The load comes from pod {self._name}.")
            self._wait_started(say)
            for line in self._cluster.lines_of(self._name, ends_s):
                messages.take(line)
            left = self._cluster.list("Pod", pod["metadata"]["labels"])
            messages.ended = how_it_ended(left[0]) if left else "it was deleted"
        finally:
            with suppress(GenaiError):  # its own deadline ends it, and the next load test removes it
                self._cluster.delete("Pod", self._name, None)

    def _wait_started(self, say: Log) -> None:
        try:
            self._cluster.wait_ready(self._name, START_S, say, "Pod")
        except NotReady as error:
            raise NotReady(f"The pod of the load test did not start. {error.what}", REMEDY) from error


@contextmanager
def _no_fault_of_the_engine() -> Iterator[None]:
    """Make a refusal of the cluster an error after which the verdicts are inconclusive."""
    try:
        yield
    except Superseded:
        raise
    except Refused as error:
        raise NotReady(error.what, error.remedy) from error


class _Messages(dg.PipesMessageReader):
    """Takes the lines of the pod's log: messages of Pipes, and whatever else the process writes."""

    def __init__(self, say: Log) -> None:
        self._say = say
        self._handler: dg.PipesMessageHandler | None = None
        self._found: list[Observation] | None = None
        self._other: deque[str] = deque(maxlen=_LINES)
        self.ended = ""

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[Mapping[str, Any]]:
        self._handler = handler
        yield {PipesDefaultMessageWriter.STDIO_KEY: PipesDefaultMessageWriter.STDERR}

    def no_messages_debug_text(self) -> str:
        return "The messages are lines of the pod's log."

    def take(self, line: str) -> None:
        """Raises: Superseded: a newer release is asked for."""
        message = _message(line)
        if message is None:
            self._other.append(line)
            return
        if self._handler:
            self._handler.handle_message(message)
        if message["method"] == "report_custom_message":
            self._take(message["params"]["payload"])

    def _take(self, payload: Mapping[str, Any]) -> None:
        if "says" in payload:
            self._say(payload["says"])
        else:
            with suppress(ValidationError, KeyError):  # a line that was cut is no result
                self._found = OBSERVATIONS.validate_python(payload["observations"])

    def observations(self, pod: str) -> list[Observation]:
        """Raises: NotReady: the pod ended without them."""
        if self._found is None:
            why = self.ended or "its log has no result"
            lines = "".join(f"\n  {line}" for line in self._other)
            raise NotReady(f"Pod {pod} ended before all requests were answered: {why}.{lines}", "Run the step again.")
        return self._found


def _message(line: str) -> Any:
    """Return a message of Pipes, or None for another line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and PIPES_PROTOCOL_VERSION_FIELD in found else None

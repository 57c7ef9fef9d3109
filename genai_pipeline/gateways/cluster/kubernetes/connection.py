"""The connection to the API server: credentials, deadlines, one repeated call, one open stream.

Credentials, TLS and connections are the official client's. Requests go through its pool of connections and not through
its generated methods. Those log whole bodies, Secrets too, and have no deadline for all tries together.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.gateways.backoff import backoff_s, retry_after_s
from genai_pipeline.gateways.cluster.kinds import ApiRequest
from genai_pipeline.gateways.cluster.kubernetes.answers import ApiAnswer, error_of, parsed

CONNECT_S, READ_S = 4.0, 15.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
PATIENCE_S = 30.0
"""A call without a deadline is repeated for so long: an API server that restarts is back within seconds."""
CONNECTIONS_MAX = 128

Query = Sequence[tuple[str, Any]]


class Deadline:
    """A point in time that all calls of one wait share.

    Args:
        seconds: from now.
        clock: seconds, monotonic.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = seconds
        self._end = clock() + seconds

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - self._clock())

    @property
    def over(self) -> bool:
        return self.left_s <= 0


class CallCounter:
    """Counts the requests to the API server, so that a rollout's number can be shown and limited. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, request: ApiRequest) -> None:
        with self._lock:
            self._counts[(request.verb, request.resource)] += 1

    @property
    def total(self) -> int:
        with self._lock:
            return self._counts.total()

    def by_verb_and_resource(self) -> Mapping[tuple[str, str], int]:
        """Return the requests by verb and resource, as a Role names them. A repeated request counts again."""
        with self._lock:
            return dict(self._counts)


class Connection:
    """Connects when it is first used. Thread-safe.

    Args:
        kubeconfig: None takes $KUBECONFIG, then the pod's own account, then ~/.kube/config.
        patience_s: how long a call without a deadline is repeated.
    """

    def __init__(self, kubeconfig: Path | None, patience_s: float = PATIENCE_S) -> None:
        self.calls = CallCounter()
        self._kubeconfig = kubeconfig
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._client: Any = None

    def client(self) -> Any:
        """Return the official client's ApiClient. Raises ClusterUnavailable: there is no usable kubeconfig."""
        with self._lock:
            if self._client is None:
                self._client = _client(self._kubeconfig)
            return self._client

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.rest_client.pool_manager.clear()
            client.close()

    def call(
        self,
        request: ApiRequest,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        deadline: Deadline | None = None,
        accept: Sequence[int] = (),
    ) -> ApiAnswer:
        """Send one request, and repeat it until it has an answer or the deadline is over.

        Args:
            accept: statuses of failures that the caller handles.
        Raises: the error that the answer stands for; ClusterUnavailable at the deadline.
        """
        deadline = deadline or Deadline(self._patience_s)
        failures, renewed, answered = 0, False, ""
        while True:
            asked_s = None
            try:
                answer = self._once(request, query, body, content_type, deadline)
            except OSError as error:
                # The last try has only the rest of the deadline. What the server said before tells more.
                why = f"{answered}, then {error}" if answered else str(error)
            else:
                if answer.status < 300 or (answer.status in accept and not answer.is_worth_another_try):
                    return answer
                if answer.status == 401 and not renewed:
                    renewed = True  # the token may have expired: the kubeconfig is read again
                    self.close()
                    continue
                if not answer.is_worth_another_try:
                    raise error_of(answer, request)
                asked_s, why = retry_after_s(answer.headers), f"{answer.status} {answer.message}"
                answered = why
            failures += 1
            pause = pause_s(failures, asked_s)
            if pause >= deadline.left_s:
                raise _unavailable(request, why)
            time.sleep(pause)

    def stream(self, request: ApiRequest, query: Query, silence_s: float) -> Any:
        """Return an open answer, whose reads fail after `silence_s` without a byte. It is not repeated.

        Raises: OSError: no answer, ForgottenVersion and TemporaryAnswer among them; else the error that the answer
            stands for.
        """
        response = self._send(request, query, None, "application/json", (CONNECT_S, silence_s))
        if response.status < 300:
            return response
        answer = _read(response)
        if answer.status == 410:
            raise ForgottenVersion(answer.message)
        if answer.is_worth_another_try:
            raise TemporaryAnswer(answer)
        raise error_of(answer, request)

    def _once(self, request: ApiRequest, query: Query, body: Any, content_type: str, deadline: Deadline) -> ApiAnswer:
        left = max(0.05, deadline.left_s)
        return _read(self._send(request, query, body, content_type, (min(CONNECT_S, left), min(READ_S, left))))

    def _send(
        self, request: ApiRequest, query: Query, body: Any, content_type: str, timeout_s: tuple[float, float]
    ) -> Any:
        """Return urllib3's open answer, whatever its status. Raises OSError."""
        import urllib3

        self.calls.add(request)
        client = self.client()
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": client.user_agent}
        client.update_params_for_auth(headers, [], ["BearerToken"])
        url = client.configuration.host + request.path + (f"?{urlencode(query)}" if query else "")
        try:
            return client.rest_client.pool_manager.request(
                request.method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=timeout_s[0], read=timeout_s[1]),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ConnectionError(_reason(error)) from error


def pause_s(failures: int, asked_s: float | None, first_s: float = FIRST_PAUSE_S) -> float:
    """Return the seconds until the next try, at least what the server asked for."""
    return max(asked_s or 0.0, backoff_s(failures, first_s, longest_s=LONGEST_PAUSE_S))


class TemporaryAnswer(OSError):
    """An answer that may be another one in a moment; `asked_s`: the pause that the server asks for."""

    def __init__(self, answer: ApiAnswer) -> None:
        self.asked_s = retry_after_s(answer.headers)
        super().__init__(f"{answer.status} {answer.message}")


class ForgottenVersion(OSError):
    """The server no longer has the version at which a watch was to begin (410)."""


def _unavailable(request: ApiRequest, why: str) -> ClusterUnavailable:
    return ClusterUnavailable(
        f"The cluster's API did not answer {request}: {why}.", "Check that it runs and that the kubeconfig names it."
    )


def _read(response: Any) -> ApiAnswer:
    import urllib3

    try:
        body = response.read()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        response.close()
        raise ConnectionError(_reason(error)) from error
    response.release_conn()
    is_log = response.status < 300 and not response.headers.get("Content-Type", "").startswith("application/json")
    content = body.decode("utf-8", "replace") if is_log else parsed(body)
    warnings = tuple(_warning(header) for header in response.headers.getlist("Warning"))
    return ApiAnswer(response.status, content, response.headers, warnings)


def _warning(header: str) -> str:
    """Return the text of `299 - "text"`. Source: RFC 7234, section 5.5."""
    text = header.split('"', 1)[-1].removesuffix('"') if '"' in header else header
    return text.replace('\\"', '"')


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    text = str(inner if isinstance(inner, Exception) else error)
    return text.rsplit(">: ", 1)[-1].strip() or type(error).__name__


def _client(kubeconfig: Path | None) -> Any:
    from kubernetes import client, config
    from yaml import YAMLError

    # Configuration() itself copies a default of the process, which another library may have set.
    settings = type.__call__(client.Configuration)
    try:
        if kubeconfig is None and not os.environ.get("KUBECONFIG") and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=settings)
        else:
            # The client reads the variable once, when it is imported.
            file = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
            config.load_kube_config(config_file=file, client_configuration=settings, persist_config=False)
    except (config.ConfigException, OSError, ValueError, TypeError, LookupError, AttributeError, YAMLError) as error:
        # The last four where the file is no YAML, or YAML of another form.
        raise ClusterUnavailable(
            f"There is no usable kubeconfig ({kubeconfig or '$KUBECONFIG or ~/.kube/config'}): {_why(error)}.",
            "Set KUBECONFIG to the file of the cluster.",
        ) from error
    if _on_this_machine(settings.host):
        settings.proxy = None  # as kubectl does: HTTPS_PROXY does not apply to this machine
    settings.retries = False  # `call` repeats, counts and has a deadline
    if not settings.verify_ssl:
        import urllib3

        # The kubeconfig asks for it. urllib3 would warn about it at every call.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    settings.connection_pool_maxsize = CONNECTIONS_MAX
    made = client.ApiClient(settings)
    made.user_agent = "genai-pipeline"
    return made


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _why(error: Exception) -> str:
    """Return the words of an error as a part of a sentence, in one line."""
    return " ".join(str(error).split()).rstrip(".")

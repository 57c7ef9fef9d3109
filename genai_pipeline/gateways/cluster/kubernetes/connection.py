"""The way to the API server: credentials, one retried call, one open stream. Knows no kinds and no objects."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.gateways.cluster.kubernetes.answers import (
    Answer,
    Request,
    error_of,
    parsed,
    retry_after_s,
    worth_another_try,
)
from genai_pipeline.gateways.cluster.kubernetes.calls import Calls
from genai_pipeline.gateways.cluster.kubernetes.retrying import Backoff, Deadline

CONNECT_S, READ_S = 4.0, 15.0
PATIENCE_S = 30.0
"""A plain call is repeated for so long: an API server that restarts is back within seconds."""
CONNECTIONS_MAX = 128
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"


class Connection:
    """Connects when it is first used. Thread-safe.

    Args: kubeconfig: a file; None takes $KUBECONFIG, then the pod's own account, then ~/.kube/config.
        patience_s: for how long a call without a deadline of its own is repeated.
    """

    def __init__(self, kubeconfig: Path | None, patience_s: float = PATIENCE_S) -> None:
        self.calls = Calls()
        self._kubeconfig = kubeconfig
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._client: Any = None

    def client(self) -> Any:
        """The official client's ApiClient. Raises ClusterUnavailable where there is no usable configuration."""
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
        request: Request,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]] = (),
        body: Any = None,
        content_type: str = "application/json",
        deadline: Deadline | None = None,
        accept: Sequence[int] = (),
    ) -> Answer:
        """One request, repeated until it has an answer or the deadline. `accept`: failures that the caller handles.

        Raises: the error of the tree that the answer stands for; ClusterUnavailable at the deadline.
        """
        deadline = deadline or Deadline(self._patience_s)
        backoff, renewed, said = Backoff(), False, ""
        while True:
            asked_s, why = None, ""
            try:
                answer = self._once(request, method, path, query, body, content_type, deadline)
            except OSError as error:
                # The last try has only what is left of the deadline: what the server said before tells more.
                why = f"{said}, then {_reason(error)}" if said else _reason(error)
            else:
                if answer.status < 300 or (answer.status in accept and not worth_another_try(answer)):
                    return answer
                if answer.status == 401 and not renewed:
                    renewed = True  # a token that has expired meanwhile is read or asked for anew
                    self.close()
                    continue
                if not worth_another_try(answer):
                    raise error_of(answer, request)
                asked_s, why = retry_after_s(answer), f"{answer.status} {answer.message}"
                said = why
            pause = backoff.next_s(asked_s)
            if pause >= deadline.left_s:
                raise unavailable(request, why)
            time.sleep(pause)

    def stream(self, request: Request, path: str, query: Sequence[tuple[str, Any]], silence_s: float) -> Any:
        """An open answer, whose reads fail after `silence_s` without a byte. Not repeated.

        Raises: OSError: no answer, TooOld and TemporaryAnswer among them; else the error that the answer stands for.
        """
        answer = self._send(request, "GET", path, query, None, "application/json", (CONNECT_S, silence_s))
        if isinstance(answer, Answer):
            if answer.status == 410:
                raise TooOld(answer.message)
            if worth_another_try(answer):
                raise TemporaryAnswer(answer)
            raise error_of(answer, request)
        return answer

    def _once(
        self,
        request: Request,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]],
        body: Any,
        content_type: str,
        deadline: Deadline,
    ) -> Answer:
        left = max(0.05, deadline.left_s)
        timeout = (min(CONNECT_S, left), min(READ_S, left))
        answer = self._send(request, method, path, query, body, content_type, timeout)
        return answer if isinstance(answer, Answer) else _read(answer)

    def _send(
        self,
        request: Request,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]],
        body: Any,
        content_type: str,
        timeout: tuple[float, float],
    ) -> Any:
        """The open answer of urllib3 where it is a success, else the Answer. Raises OSError."""
        import urllib3
        from kubernetes.client.exceptions import ApiException

        self.calls.add(request.verb, request.resource)
        client = self.client()
        try:
            # Not preloaded: the client would write every body, Secrets too, into its debug log.
            return client.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
        except ApiException as error:
            if not error.status:
                raise ConnectionError(str(error.reason).strip()) from error
            text = error.body or ""
            content = parsed(text.encode() if isinstance(text, str) else text)
            return Answer(int(error.status), content, _plain(error.headers))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ConnectionError(_reason(error)) from error


class TemporaryAnswer(OSError):
    """An answer that may be another one in a moment; `pause_s` where the server says when."""

    def __init__(self, answer: Answer) -> None:
        self.pause_s = retry_after_s(answer)
        super().__init__(f"{answer.status} {answer.message}")


class TooOld(OSError):
    """The server has forgotten the version that a watch was to begin at (410)."""


def unavailable(request: Request, why: str) -> ClusterUnavailable:
    return ClusterUnavailable(
        f"The cluster's API did not answer {request}: {why}.", "Check that it runs and that the kubeconfig names it."
    )


def _read(response: Any) -> Answer:
    import urllib3

    try:
        body = response.read()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        response.close()
        raise ConnectionError(_reason(error)) from error
    response.release_conn()
    warnings = response.headers.getlist("Warning")
    json_ = response.headers.get("Content-Type", "").startswith("application/json")
    content = parsed(body) if json_ else body.decode("utf-8", "replace")
    return Answer(response.status, content, _plain(response.headers), tuple(_warning(w) for w in warnings))


def _warning(header: str) -> str:
    """The text of ``299 - "text"``. Source: RFC 7234, section 5.5."""
    text = header.split('"', 1)[-1].removesuffix('"') if '"' in header else header
    return text.replace('\\"', '"')


def _plain(headers: Any) -> Mapping[str, str]:
    return {"-".join(part.capitalize() for part in key.split("-")): value for key, value in (headers or {}).items()}


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    text = str(inner if isinstance(inner, Exception) else error)
    return text.rsplit(">: ", 1)[-1].strip() or type(error).__name__


def _client(kubeconfig: Path | None) -> Any:
    from kubernetes import client, config

    # As Configuration() but without the process's shared default, which another library may have set.
    settings = type.__call__(client.Configuration)
    try:
        if kubeconfig is None and not os.environ.get("KUBECONFIG") and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=settings)
        else:
            # The client reads the variable once, when it is imported.
            file = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
            config.load_kube_config(config_file=file, client_configuration=settings, persist_config=False)
    except (config.ConfigException, OSError, ValueError) as error:
        raise ClusterUnavailable(
            f"There is no usable kubeconfig ({kubeconfig or '$KUBECONFIG or ~/.kube/config'}): {error}.",
            "Set KUBECONFIG to the file of the cluster.",
        ) from error
    if _on_this_machine(settings.host):
        settings.proxy = None  # as kubectl does: HTTPS_PROXY is not for what listens here
    settings.retries = False  # ours are counted and have a deadline
    if not settings.verify_ssl:
        import urllib3

        # The kubeconfig asks for it by name; urllib3 would say so once a call.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    settings.connection_pool_maxsize = CONNECTIONS_MAX
    made = client.ApiClient(settings)
    made.user_agent = "genai-pipeline"
    return made


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")

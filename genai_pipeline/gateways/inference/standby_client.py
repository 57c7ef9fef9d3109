"""The door of an engine with `serving.standby: sleep`, over HTTP (`k8s/sleeping.py` is the other side)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any, TypeVar

import httpx

from genai_pipeline.core.engine_paths import TOKEN_HEADER
from genai_pipeline.core.errors import EngineUnavailable, NotFound
from genai_pipeline.gateways.bounded_body import whole_within
from genai_pipeline.gateways.inference.abc import StandbyDoor
from genai_pipeline.gateways.inference.inference_client import LOOK_AT_THE_LOG

ASK_S = 10.0
STATE_S = 3.0
"""The pod answers it without the engine, and a rollback waits for it."""
_CONNECT_S = 5.0
PROMPT = "The capital of France is"
TOKENS = 16

Read = TypeVar("Read")


class HttpStandbyDoor(StandbyDoor):
    """Each request has a connection of its own: a kept one would hold the engine back from being drained.

    Args:
        base_url: `http://host:port` of the Service that reaches the engine while it sleeps.
    """

    def __init__(self, base_url: str, token: str) -> None:
        self._url, self._token = base_url.rstrip("/"), token

    def is_sleeping(self) -> bool:
        return self._ask("GET", "/is_sleeping", lambda said: bool(said["is_sleeping"]), within_s=STATE_S)

    def known_answer(self, model: str) -> str:
        body = {"model": model, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
        body |= {"cache_salt": token_hex(8)}  # a part of the answer from the prefix cache could change the rest of it
        return self._ask("POST", "/v1/completions", lambda said: str(said["choices"][0]["text"]), body)

    def sleep(self, within_s: float) -> None:
        self._ask("POST", "/sleep?level=1", lambda _: None, within_s=within_s)

    def wake_up(self, within_s: float) -> None:
        self._ask("POST", "/wake_up", _require_awake, within_s=within_s)

    def open(self) -> None:
        self._ask("POST", "/genai/open", lambda _: None)

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[Any], Read],
        body: Mapping[str, Any] | None = None,
        within_s: float = ASK_S,
    ) -> Read:
        what = f"{method} {self._url}{path}"
        timeout = httpx.Timeout(within_s, connect=min(_CONNECT_S, within_s))
        headers = {TOKEN_HEADER: self._token, "Connection": "close"}
        try:
            with httpx.Client(timeout=timeout, trust_env=False, event_hooks=whole_within(within_s)) as client:
                response = client.request(method, self._url + path, headers=headers, json=body)
                if response.status_code == 404:
                    raise NotFound(f"{what} does not exist for this pipeline.", "Pods get its token when they start.")
                if not response.is_success:
                    raise EngineUnavailable(f"{what} answered {response.status_code}.", LOOK_AT_THE_LOG)
                return read(response.json() if response.content else None)
        except httpx.TimeoutException as error:
            raise EngineUnavailable(f"{what} did not answer within {within_s:g} s.", LOOK_AT_THE_LOG) from error
        except httpx.HTTPError as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise EngineUnavailable(f"{what} got no answer: {reason}.", LOOK_AT_THE_LOG) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EngineUnavailable(f"{what} was not understood: {error!r}.", LOOK_AT_THE_LOG) from error


def _require_awake(said: Any) -> None:
    """Raises: ValueError: a part of the memory is still away.

    Older versions of vLLM answer without a body. Source: vLLM 0.32, serve/dev/sleep/api_router.py.
    """
    if said and said["status"] != "awake":
        raise ValueError(f"status {said['status']!r}")

"""Ask a model for tool calls, straight at its OpenAI-compatible endpoint and without an agent.

Every case is asked twice, streamed and not, because engines parse the two differently. What the model said goes back
to it as the history of the conversation; after a wrong step the rest of the case is not asked.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.task import Task
from genai_pipeline.evaluation.reply import NotMeasured, Reply
from genai_pipeline.evaluation.runner import Asker, CaseRun
from genai_pipeline.evaluation.tool_call_scoring import raw_call, score_calls, score_text, shown_calls
from genai_pipeline.evaluation.tool_suite import ToolCase, ToolStep, ToolSuite
from genai_pipeline.gateways.inference.chat_answer import ChatAnswer, parse_answer
from genai_pipeline.gateways.inference.inference_client import ClientSettings, EndpointReply, InferenceClient
from genai_pipeline.gateways.inference.task_endpoint import endpoint_of

TIMEOUT_S = 60.0
RETRIES = 2
WHOLE, STREAMED = "not streamed", "streamed"
_ASKED_OF_TOOLS = (400, 404, 422, 500, 501)
_NO_TOOLS = re.compile(
    r"tool.*(requires? --|not support|n't support|unsupported|not enabled|must be set|no parser)"
    r"|(not support|unsupported|no endpoints).*(tool|function)|requires --jinja",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|max_model_len|too long|max_tokens.*too large", re.IGNORECASE
)
_SET = "Serve the model with --enable-auto-tool-choice and the --tool-call-parser that fits it (vLLM)."


class Declined(Exception):
    """The model, as it is served, cannot answer this."""


class EndpointAsker(Asker[ToolCase]):
    """Puts the cases of a suite of tool calls to one endpoint; use as a context manager.

    Args:
        base_url: of an OpenAI-compatible endpoint, with or without `/v1`.
        timeout_s: for one answer, retries included.
        concurrency: most connections.
    """

    ways = (WHOLE, STREAMED)
    give_up_after = 10

    def __init__(
        self,
        base_url: str,
        model: str,
        suite: ToolSuite,
        *,
        api_key: str = "",
        timeout_s: float = TIMEOUT_S,
        concurrency: int = 1,
    ) -> None:
        connections = max(1, concurrency)
        settings = ClientSettings(timeout_s, api_key, RETRIES, connections=connections, kept=connections)
        self._client, self._model, self._suite = InferenceClient(base_url, settings), model, suite

    def __enter__(self) -> EndpointAsker:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def about(self) -> Mapping[str, Any]:
        return {"sampling": {"temperature": 0.0, "seed": self._suite.seed}}

    def hold(self, run: CaseRun[ToolCase]) -> None:
        case, answers, calls = run.case, list[str](), list[str]()
        messages: list[dict[str, Any]] = [{"role": "system", "content": case.system or self._suite.system}]
        results: list[dict[str, Any]] = []
        for step in case.turns:
            messages += results
            if step.ask:
                messages.append({"role": "user", "content": step.ask})
            try:
                answer, reply = self._ask(messages, case, step.ask or "", run.way == STREAMED)
            except Declined as declined:
                answers.append(str(declined))
                calls.append(str(declined))
                break
            run.replies.append(reply)
            wrong, wrong_calls, matched = _score(self._suite, case, step, answer)
            at = f"step {len(run.replies)}: " if wrong and len(case.turns) > 1 else ""
            answers.append(at + wrong)
            calls.append(wrong_calls)
            if wrong:
                break
            messages.append(_as_history(answer))
            results = _results(answer, step, matched)
        run.answers, run.calls = answers, calls

    def _ask(self, messages: Sequence[Any], case: ToolCase, prompt: str, streamed: bool) -> tuple[ChatAnswer, Reply]:
        """Raises: Declined, NotMeasured."""
        suite = self._suite
        body: dict[str, Any] = {"model": self._model, "messages": messages, "tools": suite.as_sent(case.tools)}
        body |= {"temperature": 0, "seed": suite.seed, "max_tokens": suite.max_tokens}
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        asked_at, started = datetime.now(UTC), time.perf_counter()
        try:
            reply = self._client.send("POST", endpoint_of(Task.CHAT).path, body)
        except EngineUnavailable as error:
            raise NotMeasured(error.what.rstrip("."), time.perf_counter() - started) from error
        seconds = time.perf_counter() - started
        answer = self._answer(reply, streamed)
        return answer, Reply(
            asked_at,
            seconds,
            answer.text,
            calls=tuple(shown_calls(answer.calls)),
            cycles_s=(seconds,),
            input_tokens=answer.usage.get("prompt_tokens") or 0,
            output_tokens=answer.usage.get("completion_tokens") or 0,
            prompt=prompt,
            about={"streamed": streamed, "finish": answer.finish},
        )

    def _answer(self, reply: EndpointReply, streamed: bool) -> ChatAnswer:
        """Raises: Declined, NotMeasured."""
        url, status, words = self._client.url, reply.status, reply.words
        if status in _ASKED_OF_TOOLS and _NO_TOOLS.search(words):
            raise Declined(f"the endpoint takes no tools ({status}: {words}) {_SET}")
        if status == 400 and _TOO_LONG.search(words):
            raise Declined(f"it does not fit the model's context ({words})")
        if status != 200:
            key = " Check the API key."
            hint = {401: key, 403: key, 404: f" Is the model called {self._model!r}?"}.get(status, "")
            raise NotMeasured(f"{url} answered {status}: {words}{hint}")
        try:
            answer = parse_answer(reply.content, streamed)
        except ValueError as error:
            raise NotMeasured(f"{url} answered something that is {error}"[:300]) from error
        if streamed and not answer.finish:
            raise NotMeasured(f"{url} ended its stream in the middle of an answer")
        return answer


def _score(suite: ToolSuite, case: ToolCase, step: ToolStep, answer: ChatAnswer) -> tuple[str, str, list[int]]:
    """(what is wrong, what of it is wrong about the calls, which call met which expectation)."""
    found = score_calls(suite, case.tools, step, answer.calls)
    raw = raw_call(answer.text)  # says why nothing was called
    wrong_calls = [raw] if raw else found.wrong
    wrong = [f"cut off at {suite.max_tokens} tokens (`max_tokens` of the suite)"] if answer.finish == "length" else []
    wrong += wrong_calls
    if not raw:
        wrong += score_text(step, answer.text, bool(answer.calls))
    return "; ".join(wrong), "; ".join(wrong_calls), found.matched


def _as_history(answer: ChatAnswer) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
        for call in answer.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or (None if calls else "")}
    return message | ({"tool_calls": calls} if calls else {})


def _results(answer: ChatAnswer, step: ToolStep, matched: Sequence[int]) -> list[dict[str, Any]]:
    """A tool message for every call, in the order of the calls; tolerated ones get an empty answer."""
    if not answer.calls:
        return []
    results = {call: step.results[wanted] for wanted, call in enumerate(matched)} if step.results else {}
    return [
        {"role": "tool", "tool_call_id": call.id, "content": _content(results.get(index, ""))}
        for index, call in enumerate(answer.calls)
    ]


def _content(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)

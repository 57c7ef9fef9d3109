"""Check that a candidate is the staged model and answers: the checks of `m/candidate`.

/health is not asked, because it answers 200 on an engine that fails every completion.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import GenaiError, Refused
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.gateways.inference.abc import Answer, Completion, Inference, Tool
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics

WEATHER_TOOL: Tool = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city.",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
WEATHER_QUESTION = "What is the weather in Paris?"
_QUESTION = "Hello, how are you?"
_RAW_CALL_SIGNS = ("[TOOL_CALLS]", "<tool_call>", "<|python_tag|>", "<function=", '{"name"', '[{"name"')
_THINKING_SIGNS = ("<think>", "</think>", "[THINK]", "<|channel|>analysis", "<|start_thinking|>", "<|START_THINKING|>")
"""What models write around their thoughts: Qwen3 and DeepSeek-R1, Magistral, gpt-oss, Granite, Command."""
_WRONG_NUMBERS = "Can the model be computed in the dtype that it is served with? Compare `serving.args.dtype`."
_WHY_NO_ANSWER = {
    Task.CHAT: "Is the chat template the model's own?",
    Task.COMPLETION: "Are the weights those of a model that generates text?",
    Task.EMBED: _WRONG_NUMBERS,
    Task.SCORE: _WRONG_NUMBERS,
}
_COUNTERS_SETTLE_S = 3.0


def accept_candidate(
    inference: Inference,
    metrics: Metrics,
    model_name: str,
    expected_root: str,
    task: Task = Task.CHAT,
    asked: Collection[str] = tuple(CHECKS["candidate"]),
    tools: Sequence[Tool] = (WEATHER_TOOL,),
    tool_question: str = WEATHER_QUESTION,
    deadline_s: float = 120,
    max_tokens: int = 256,
) -> list[Verdict]:
    """Ask the candidate and return one verdict for each check that applies, also where nothing could be measured.

    Args:
        expected_root: the staged prefix as it was given to the engine, `s3://bucket/models/<m>/<revision>/`.
        task: what the candidate is asked.
        asked: the checks that apply to this release.
        tools: the tools of the request for a tool call.
        tool_question: a question that needs the first of `tools`.
        max_tokens: tokens of one answer. A model that thinks needs more of them before its tool call.
        deadline_s: seconds after which no further question is asked; each question has the gateway's own deadline.
    """
    ends_at = time.monotonic() + deadline_s

    def ask(check: str, question: Callable[[], Verdict]) -> Verdict:
        if time.monotonic() > ends_at:
            return inconclusive(check, f"Not asked: the deadline of {deadline_s:g} s was over.")
        return _conclude(check, question)

    candidate = _Candidate(inference, model_name, task)
    questions: Mapping[str, Callable[[], Verdict]] = {
        "expected_model_answers": lambda: _expected_model_answers(candidate),
        "tool_call_parsed": lambda: _tool_call_parsed(inference, model_name, tools, tool_question, max_tokens),
        "weights_from_staged_prefix": lambda: _weights_from_prefix(candidate, metrics, expected_root),
    }
    return [ask(check, question) for check, question in questions.items() if check in asked]


@dataclass(frozen=True)
class _Candidate:
    """What is asked, by which name, and how."""

    inference: Inference
    name: str
    task: Task

    def ask(self) -> Answer:
        return self.inference.ask(self.task, self.name, _QUESTION)


def _conclude(check: str, question: Callable[[], Verdict]) -> Verdict:
    """A refusal is failed, no answer is inconclusive. Both keep the engine's words."""
    try:
        return question()
    except Refused as error:
        return failed(check, str(error))
    except GenaiError as error:
        return inconclusive(check, str(error))


def _expected_model_answers(candidate: _Candidate) -> Verdict:
    check, name = "expected_model_answers", candidate.name
    served = candidate.inference.models()
    if name not in served:
        said = f"{candidate.inference.base_url} serves {', '.join(sorted(served)) or 'nothing'}, not {name}."
        return failed(check, f"{said} Compare --served-model-name with the model file.", served=sorted(served))
    answer = candidate.ask()
    evidence = {"model": answer.model, "question": _QUESTION, "answer": answer.said, "tokens": answer.completion_tokens}
    if isinstance(answer, Completion) and answer.reasoning:
        evidence["reasoning"] = answer.reasoning
    if answer.model != name:
        return failed(check, f"{answer.model} answered instead of {name}.", **evidence)
    if answer.fault:
        return failed(check, f"{name} gave no answer: {answer.fault}. {_WHY_NO_ANSWER[candidate.task]}", **evidence)
    if isinstance(answer, Completion):
        said = f"{name} answered with {answer.completion_tokens} tokens. {_thinking(answer)}"
        return passed(check, said.rstrip(), **evidence)
    return passed(check, f"{name} answered: {answer.said}.", **evidence)


def _thinking(answer: Completion) -> str:
    """Return what there is to know about the thoughts of a model, or an empty text where it shows none."""
    if sign := next((sign for sign in _THINKING_SIGNS if sign in answer.text), ""):
        return (
            f"Its thoughts are part of the answer ({sign}), where users and agents read them: set "
            "`serving.args.reasoning-parser` to the parser of this model."
        )
    if answer.reasoning and not answer.text.strip():
        return f"All of them are thoughts: the first {answer.completion_tokens} tokens hold no word of the answer."
    return ""


def _tool_call_parsed(
    inference: Inference, model_name: str, tools: Sequence[Tool], question: str, max_tokens: int
) -> Verdict:
    check = "tool_call_parsed"
    answer = inference.chat(model_name, [{"role": "user", "content": question}], tools, max_tokens=max_tokens)
    known = {tool["function"]["name"] for tool in tools}
    calls = [{"name": call.name, "arguments": str(dict(call.arguments or {}))} for call in answer.tool_calls]
    evidence = {"question": question, "answer": answer.text, "tool_calls": calls, "tools": sorted(known)}
    if not answer.tool_calls:
        return failed(check, _why_no_call(answer), **evidence)
    unknown = sorted({call.name for call in answer.tool_calls} - known)
    unreadable = sorted({call.name for call in answer.tool_calls if call.arguments is None})
    if unknown:
        return failed(check, f"The model called {', '.join(unknown)}, which it was not given.", **evidence)
    if unreadable:
        return failed(check, f"The arguments of {', '.join(unreadable)} are not a JSON object.", **evidence)
    return passed(check, f"The call of {answer.tool_calls[0].name} came back as `tool_calls`.", **evidence)


def _why_no_call(answer: Completion) -> str:
    said = f"No `tool_calls` came back, but the text {answer.text[:120]!r}."
    if answer.finish_reason == "length":
        spent = " It was still thinking." if answer.reasoning and not answer.text.strip() else ""
        return f"{said} The answer was cut off before the call was whole.{spent} Raise `gates.serving.check_tokens`."
    if any(sign in answer.text for sign in _RAW_CALL_SIGNS):
        return f"{said} It is a raw call: the likely cause is a wrong `serving.args.tool-call-parser`."
    return f"{said} The model answered in words: is it trained for tools, and does its chat template show them to it?"


@dataclass(frozen=True)
class _Moved:
    """How far a counter moved while one question was answered."""

    counter: str
    by: float
    at_least: int

    @property
    def enough(self) -> bool:
        return self.by >= self.at_least


def _weights_from_prefix(candidate: _Candidate, metrics: Metrics, expected_root: str) -> Verdict:
    """The root is only what the engine was given; its counters prove that this engine did the work."""
    check = "weights_from_staged_prefix"
    root, url = candidate.inference.models().get(candidate.name, ""), candidate.inference.base_url
    if root.rstrip("/") != expected_root.rstrip("/"):
        said = f"The engine was loaded from {root or '(it does not say)'}, the staged model is at {expected_root}."
        return failed(check, said, root=root, expected=expected_root)
    before = metrics.read(url)
    moved = _moved(metrics, url, before, candidate.ask())
    table = [{"counter": m.counter, "moved_by": m.by, "at_least": m.at_least} for m in moved]
    still = [m.counter for m in moved if not m.enough]
    said = (
        f"Loaded from {expected_root}, but its {' and '.join(still)} did not move with an answer: "
        "something else gave it, or several replicas share this address."
        if still
        else f"Loaded from {expected_root}; the engine's own counters show the request."
    )
    return judge(check, not still, said, root=root, expected=expected_root, counters=table)


def _moved(metrics: Metrics, base_url: str, before: EngineMetrics, answer: Answer) -> list[_Moved]:
    """Read until the answer is counted, or until the engine had enough time to count it."""
    ends_at = time.monotonic() + _COUNTERS_SETTLE_S
    while True:
        after = metrics.read(base_url)
        moved = [
            _Moved("prompt_tokens", after.prompt_tokens - before.prompt_tokens, max(1, answer.prompt_tokens)),
            _Moved("requests_finished", after.requests_finished - before.requests_finished, 1),
        ]
        if isinstance(answer, Completion):
            generated = after.generation_tokens - before.generation_tokens
            moved.append(_Moved("generation_tokens", generated, answer.completion_tokens))
        if all(m.enough for m in moved) or time.monotonic() > ends_at:
            return moved
        time.sleep(0.1)

"""What `genai up` shows of a live model at its end: its addresses, and an answer to a first question."""

from __future__ import annotations

import json
import shlex

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.task import Task
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.task_endpoint import endpoint_of
from genai_pipeline.k8s.render import stable_name

_NEED_A_TOOL = {"weather": "What is the weather in Paris?"}
"""Per suite of the agent's gates: a question that an agent answers with a tool."""
_QUESTIONS = {
    Task.CHAT: "Hello! What can you help me with?",
    Task.COMPLETION: "The capital of France is",
    Task.EMBED: "Hello",
    Task.SCORE: "Hello",
}


def addresses(gateways: Gateways, spec: ModelSpec, sign_in: str = "") -> list[str]:
    """Return a line for each address of a live model.

    Args:
        sign_in: how to sign in at the chat page, if it asks.
    """
    lines = [f"OpenAI API    {_engine(gateways, spec)}/v1   (model {spec.name})"]
    if spec.has_agent:
        lines.append(f"Agent         {gateways.cluster.endpoint(stable_name(spec.name, 'agent'))}/agent")
    if spec.task.generates:
        lines += [f"{line}   {sign_in}".rstrip() for line in _chat_page(gateways)]
    return lines


def first_answer(gateways: Gateways, spec: ModelSpec) -> list[str]:
    """Ask a live model a question and return both: its agent where it has one, else its task's endpoint.

    Raises: EngineUnavailable, AgentUnavailable, Refused: no answer came.
    """
    if spec.has_agent:
        return _of_agent(gateways, spec)
    question = _QUESTIONS[spec.task]
    answer = gateways.inference(_engine(gateways, spec)).ask(spec.task, spec.name, question)
    if spec.task.generates:
        return [f"You:   {question}", f"Model: {answer.said.strip()}"]
    return [_request(_engine(gateways, spec), spec, question), f"It answers: {answer.said}"]


def _of_agent(gateways: Gateways, spec: ModelSpec) -> list[str]:
    question = _NEED_A_TOOL.get(spec.gates.agent.suite, _QUESTIONS[Task.CHAT])
    answer = gateways.agent(gateways.cluster.endpoint(stable_name(spec.name, "agent"))).ask(question)
    tools = ", ".join(f"{tool.get('name')}({tool.get('arguments')})" for tool in answer.tools)
    return [f"You:   {question}", f"Agent: {answer.text}" + (f"   [{tools}]" if tools else "")]


def _request(engine: str, spec: ModelSpec, question: str) -> str:
    """Return the same request for a shell."""
    endpoint = endpoint_of(spec.task)
    body = shlex.quote(json.dumps(endpoint.body(spec.name, question, 64)))
    return f"curl {engine}/v1{endpoint.path} -H 'Content-Type: application/json' -d {body}"


def _engine(gateways: Gateways, spec: ModelSpec) -> str:
    return gateways.cluster.endpoint(stable_name(spec.name, "engine"))


def _chat_page(gateways: Gateways) -> list[str]:
    try:
        return [f"Chat page     {gateways.cluster.endpoint('chat-ui')}"]
    except GenaiError:
        return []

"""The verdict weights_loadable of m/snapshot: what an engine would load, before a byte moves or a GPU is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.call_format import parser_hints
from genai_pipeline.core.config_hints import task_hints
from genai_pipeline.core.engine_files import EngineFiles, engine_files, is_read
from genai_pipeline.core.errors import GenaiError, IncompleteModel, Refused
from genai_pipeline.core.loader import load_format
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.hub.weights_reading import with_layout

CHECK = "weights_loadable"
LARGEST_CONFIG = 16 * 1024**2
"""Bytes. A tokenizer_config.json of 200,000 added tokens has some 10 MB."""


def judge_loadable(
    snapshot: Snapshot, hub: Hub, args: Mapping[str, Any], task: Task | None = None, has_agent: bool = False
) -> Verdict:
    """Return the verdict weights_loadable.

    Args:
        args: the engine's arguments in the model file.
        task: what the model is for. A chat needs a chat template. None asks nothing of it.
        has_agent: whether it must call the tools of an agent.
    """
    try:
        decided = snapshot if snapshot.layout else with_layout(snapshot, hub)
        found = engine_files(_contents(decided, hub), args)
    except Refused as error:
        return failed(CHECK, str(error))
    except GenaiError as error:
        return inconclusive(CHECK, str(error))
    problem, remedy = problem_of(decided, found, args)
    if task is Task.CHAT and not problem:
        problem = found.chat_problem
    warnings = [*found.warnings, *task_hints(task, found.config, args)]
    if task is Task.CHAT:
        warnings += parser_hints(found.template, args, has_agent)
    left = [{"path": left.file.path, "bytes": left.file.size, "why": left.why} for left in decided.left_out]
    layout = decided.layout
    evidence: dict[str, Any] = {
        "loaded": list(layout.loaded) if layout else [],
        "left_out": left,
        "chat_template": found.chat_template or "none",
        "warnings": warnings,
        "dtype": found.dtype,
    }
    if problem:
        return failed(CHECK, f"{problem} {remedy}".strip(), **evidence)
    return passed(CHECK, " ".join(_summary(decided, found, warnings)), **evidence)


def require_loadable(snapshot: Snapshot, hub: Hub, args: Mapping[str, Any]) -> EngineFiles:
    """Refuse what an engine could not load, for a staging that no m/snapshot judged before.

    Returns: What the engine finds beside the weights.
    Raises: IncompleteModel; and the errors of reading the hub.
    """
    found = engine_files(_contents(snapshot, hub), args)
    problem, remedy = problem_of(snapshot, found, args)
    if problem:
        raise IncompleteModel(f"{snapshot.source}@{snapshot.revision[:12]}: {problem}", remedy)
    return found


def problem_of(snapshot: Snapshot, found: EngineFiles, args: Mapping[str, Any]) -> tuple[str, str]:
    """Return why an engine could not load a snapshot, and the remedy; both are empty if it can."""
    if snapshot.layout:
        layout = snapshot.layout.for_loader(load_format(args))
        if layout.problem:
            return layout.problem, layout.remedy
    return found.problem, found.remedy


def _summary(snapshot: Snapshot, found: EngineFiles, warnings: Sequence[str]) -> list[str]:
    layout = snapshot.layout
    said = [f"The engine loads {layout.rule}."] if layout else []
    if snapshot.left_out:
        said.append(f"Left out: {'; '.join(f'{left.file.path} ({left.why})' for left in snapshot.left_out)}.")
    if found.chat_template:
        said.append(f"Chat template: {found.chat_template}.")
    return said + [f"Warning: {warning}" for warning in warnings]


def _contents(snapshot: Snapshot, hub: Hub) -> dict[str, bytes | None]:
    """Return every path, with the content of those that say how an engine chats."""
    return {file.path: _content(snapshot, hub, file.path, file.size) for file in snapshot.files}


def _content(snapshot: Snapshot, hub: Hub, path: str, size: int) -> bytes | None:
    if not is_read(path) or not 0 < size <= LARGEST_CONFIG:
        return None
    return b"".join(hub.read(snapshot.source, snapshot.revision, path, 0, size))

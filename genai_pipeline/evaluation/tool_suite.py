"""A suite of tool calls for any model: tools as JSON schemas, messages, and the calls that each message needs.

An expected argument that the tool's own schema would refuse is a mistake of the suite: no model could get it right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, PositiveInt, field_validator, model_validator

from genai_pipeline.core.did_you_mean import suggestion
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.text_form import TOOL_NAME
from genai_pipeline.core.yaml_file import Location
from genai_pipeline.evaluation.argument_pattern import examples, malformed, optional, plain
from genai_pipeline.evaluation.suite import ExpectedWords, Suite, SuiteCase, Text, listed

KIND = "tool_calling"

Call = Annotated[dict[Text, dict[Text, Any]], Field(min_length=1, max_length=1)]


def _refuse_other_than_json(value: Any) -> None:
    """Raises: ValueError: YAML read a value that JSON cannot hold, such as a date."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"is not JSON ({error}); put dates and the like into quotes") from error


class ToolDefinition(Section):
    """A tool as it is described to the model. `parameters` is the JSON schema of an object."""

    description: Text
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})

    @field_validator("parameters")
    @classmethod
    def _schema_of_an_object(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            Draft202012Validator.check_schema(parameters)
        except SchemaError as error:
            raise ValueError(f"is not a JSON schema: {error.json_path}: {error.message}") from error
        if parameters.get("type") != "object":
            raise ValueError("must be the schema of an object: write `type: object`")
        _refuse_other_than_json(parameters)
        known = [f"#/$defs/{name}" for name in parameters.get("$defs", {})]
        for key, value in _keywords(parameters):
            if key == "$ref" and isinstance(value, str) and value not in known:
                raise ValueError(
                    f"refers to {value!r}; allowed: {', '.join(known) or 'nothing, because it has no $defs'}"
                )
        return parameters


class ToolStep(ExpectedWords):
    """One message to the model and what its answer must be.

    Args:
        ask: what the user says; without it only the results of the step before are sent.
        calls: tool -> arguments, in any order, no more and no fewer; argument_pattern.py says what matches an argument.
        may_call: calls that are allowed and not required.
        results: what the tools answer, in the order of `calls`; sent with the next step.
        asks_for: the model must call no tool and ask for what is missing, with one of these words.
    """

    ask: Text | None = None
    calls: tuple[Call, ...] = ()
    may_call: tuple[Call, ...] = ()
    results: tuple[Any, ...] = ()
    asks_for: tuple[Text, ...] = ()

    @field_validator("asks_for", mode="before")
    @classmethod
    def _listed(cls, words: Any) -> Any:
        return listed(words) if isinstance(words, str) else words

    @field_validator("calls", "may_call", mode="before")
    @classmethod
    def _without_arguments(cls, calls: Any) -> Any:
        """`- stop_music:` and `- stop_music` are calls without arguments."""
        if not isinstance(calls, list):
            return calls
        named = [{call: {}} if isinstance(call, str) else call for call in calls]
        return [{t: a or {} for t, a in call.items()} if isinstance(call, dict) else call for call in named]

    @model_validator(mode="after")
    def _makes_sense(self) -> ToolStep:
        if self.asks_for and self.calls:
            raise ValueError("`asks_for` allows no call, and `calls` requires one: keep one of them")
        _refuse_other_than_json(self.results)
        if self.results and len(self.results) != len(self.calls):
            raise ValueError(f"{len(self.calls)} calls and {len(self.results)} results: give one for each call")
        return self


class ToolCase(SuiteCase):
    """One conversation with the tools that it names. `system` goes before the suite's."""

    tools: tuple[Text, ...] = Field(min_length=1)
    turns: tuple[ToolStep, ...] = Field(min_length=1)
    system: Text | None = None


class ToolSuite(Suite[ToolCase]):
    """A suite of tool calls and the tools that its cases share.

    Args:
        system: the system message of every case.
        max_tokens: of one answer.
        seed: sent with every request, with temperature 0.
    """

    kind: Literal["tool_calling"]
    system: Text = "You are a helpful assistant."
    max_tokens: PositiveInt = 1024
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    tools: dict[Annotated[str, TOOL_NAME], ToolDefinition] = Field(min_length=1)

    @property
    def digest(self) -> str:
        asked = self.model_dump(
            mode="json", exclude={"repeat": True, "cases": {"__all__": {"tags", "weight", "repeat"}}}
        )
        return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def as_sent(self, names: Collection[str]) -> list[dict[str, Any]]:
        """Return the tools in the form of the chat completions API."""
        return [{"type": "function", "function": {"name": n, **self.tools[n].model_dump(mode="json")}} for n in names]


def contradictions(suite: ToolSuite) -> Iterator[tuple[Location, str]]:
    for number, case in enumerate(suite.cases):
        place: Location = ("cases", number)
        unknown = [(i, tool) for i, tool in enumerate(case.tools) if tool not in suite.tools]
        for index, tool in unknown:
            yield (*place, "tools", index), f"no tool is called {tool!r}. {suggestion(tool, suite.tools)}"
        if not unknown:
            yield from _of_turns(suite, case, (*place, "turns"))


def _of_turns(suite: ToolSuite, case: ToolCase, place: Location) -> Iterator[tuple[Location, str]]:
    before: ToolStep | None = None
    for number, step in enumerate(case.turns):
        here = (*place, number)
        if step.ask is None and not (before and before.results):
            yield here, "has nothing to send: give `ask`, or `results` in the step before."
        if before and before.calls and not before.results:
            yield (*place, number - 1), "calls without `results` must be the last step. Give a result for each call."
        for field in ("calls", "may_call"):
            for index, call in enumerate(getattr(step, field)):
                yield from _of_call(suite, case, call, (*here, field, index))
        before = step
    if before and before.results:
        yield (*place, len(case.turns) - 1, "results"), "no step follows that could send them. Add a step."


def _of_call(suite: ToolSuite, case: ToolCase, call: Call, place: Location) -> Iterator[tuple[Location, str]]:
    ((name, arguments),) = call.items()
    if name not in case.tools:
        yield (*place, name), f"the case has no tool {name!r}. {suggestion(name, case.tools)}"
        return
    schema = suite.tools[name].parameters
    properties = schema.get("properties", {})
    for written, pattern in arguments.items():
        key, here = optional(written)[0], (*place, name, written)
        if key not in properties:
            yield here, f"{name} has no parameter {key!r}. {suggestion(key, properties)}"
        elif problem := malformed(pattern) or _refused(schema, properties[key], pattern):
            yield here, f"{problem}."
    given = {key for key, may_miss in map(optional, arguments) if not may_miss}
    if missing := [key for key in schema.get("required", ()) if key not in given]:
        yield (*place, name), f"the schema of {name} requires {', '.join(missing)}. Say what it must be."


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of a schema with its value, at any depth."""
    if isinstance(schema, dict):
        yield from schema.items()
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _keywords(inner)


def _refused(whole: dict[str, Any], schema: Any, pattern: Any) -> str:
    """Return why a part of the tool's schema would refuse a choice, or an empty text if it would not."""
    validator = Draft202012Validator({"$defs": whole.get("$defs", {}), "allOf": [schema]})
    for value in examples(pattern):
        try:
            error = next(validator.iter_errors(value), None)
        except RecursionError:
            return "the tool's schema refers to itself endlessly"
        if error:
            hint = "; an array is written as a list in a list" if error.validator_value == "array" else ""
            hint = "; put it in quotes" if error.validator_value == "string" and not isinstance(value, dict) else hint
            return f"the tool's schema refuses {plain(value)}: {error.message}{hint}"
    return ""

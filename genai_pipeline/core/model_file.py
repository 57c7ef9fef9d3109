"""Read `models/*.yaml`. Every mistake is reported by file, line, field and remedy, all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_spec import ModelSpec

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class ModelFiles:
    """What a folder of model files gave: the good models, and an error per bad file."""

    specs: tuple[ModelSpec, ...]
    errors: tuple[ModelFileError, ...]


def read_models(folder: Path) -> ModelFiles:
    """Read every model file below `folder`; one bad file does not take the others with it."""
    specs: dict[str, ModelSpec] = {}
    errors: list[ModelFileError] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec = parse_model(path.read_text(), str(path))
            if spec.name in specs:
                raise ModelFileError(str(path), [f"{path}: name: another file already defines {spec.name!r}."])
            specs[spec.name] = spec
        except ModelFileError as error:
            errors.append(error)
        except (OSError, UnicodeDecodeError) as error:
            errors.append(ModelFileError(str(path), [f"{path}: cannot be read as UTF-8 text: {error}."]))
    return ModelFiles(tuple(specs.values()), tuple(errors))


def parse_model(text: str, path: str) -> ModelSpec:
    """Parse one model file.

    Raises: ModelFileError: with one line per mistake.
    """
    try:
        root: yaml.Node | None = _compose(text)
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error)
        raise ModelFileError(path, [f"{path}:{line}: not YAML: {reason}. Check indentation and quotes."]) from error
    if not isinstance(root, yaml.MappingNode):
        raise ModelFileError(path, [f"{path}:1: a model file is a mapping that starts with `name:`."])
    duplicates = [f"{path}:{line}: {key}: given twice. Keep one." for key, line in _duplicate_keys(root)]
    if duplicates:
        raise ModelFileError(path, duplicates)
    try:
        return ModelSpec.model_validate(data)
    except ValidationError as error:
        problems = [_problem(path, root, dict(detail)) for detail in error.errors()]
        raise ModelFileError(path, sorted(set(problems))) from error


def _compose(text: str) -> yaml.Node | None:
    return yaml.compose(text, Loader=yaml.SafeLoader)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _duplicate_keys(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicate_keys(item, prefix)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = prefix + str(key.value)
        if name in seen:
            yield name, key.start_mark.line + 1
        seen.add(name)
        yield from _duplicate_keys(value, name + ".")


def _problem(path: str, root: yaml.Node, detail: dict[str, Any]) -> str:
    location = _in_file(root, detail["loc"])
    field = ".".join(str(part) for part in location) or "(file)"
    return f"{path}:{_line_of(root, location)}: {field}: {_what_and_remedy(detail, location)}"


def _in_file(root: yaml.Node, location: Location) -> Location:
    """Drop the parts that pydantic adds for unions and that do not stand in the file."""
    kept: list[str | int] = []
    node: yaml.Node | None = root
    for part in location:
        child = _child(node, part)
        if child is not None or isinstance(node, yaml.MappingNode):
            kept.append(part)
            node = child
    return tuple(kept)


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _line_of(root: yaml.Node, location: Location) -> int:
    """The line of the key at `location`, or of its nearest parent that stands in the file."""
    node, line = root, root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            line = next((key.start_mark.line for key, _ in node.value if key.value == part), line)
        child = _child(node, part)
        if child is None:
            break
        node = child
    return line + 1


def _what_and_remedy(detail: dict[str, Any], location: Location) -> str:
    if detail["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(known)}."
        return f"unknown field. {hint}"
    if detail["type"] == "missing":
        return "required, and missing. Add it."
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:].rstrip(".")
    if isinstance(detail["input"], str | int | float | bool):
        return f"{message}; got {detail['input']!r}."
    return message + "."


def _fields_at(location: Location) -> list[str]:
    section: type[BaseModel] = ModelSpec
    for part in location:
        field = section.model_fields.get(str(part))
        candidates = [field.annotation, *get_args(field.annotation)] if field else []
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), ModelSpec)
    return [field.alias or name for name, field in section.model_fields.items()]

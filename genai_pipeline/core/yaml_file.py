"""Read a YAML file into a pydantic model, and report every mistake at once with file, line, field and remedy.

PyYAML's nodes know their lines. ruamel.yaml knows them as well, but stops at the first duplicate key. libyaml reads
ten times as fast and says less of a mistake. PyYAML's own parser therefore reads again what libyaml refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import Composer

from genai_pipeline.core.did_you_mean import suggestion

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)
_MOST_VALUE = 80
"""Most characters of a wrong value in a message."""

_LIST, _MAPPING = "must be a list, for example [a, b]", "must be a mapping, for example {{name: value}}"
_PLAIN_WORDS = {
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "string_type": "must be text; put it in quotes when YAML reads it as another type",
    "too_short": "needs at least {min_length} entries, and has {actual_length}",
}
"""Words for a writer of YAML, where pydantic uses words for Python."""


class YamlFileError(Exception):
    """A file is wrong. `problems` holds one line per mistake; the reader of the file raises its own error from it."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


Prepare = Callable[[yaml.MappingNode, str], None]


def parse_yaml(
    text: str,
    path: str,
    model: type[Model],
    what: str,
    prepare: Prepare | None = None,
    check: Callable[[Model], Iterable[tuple[Location, str]]] = lambda parsed: (),
) -> Model:
    """Parse one file.

    Args:
        text: content of the file.
        path: name of the file in messages.
        model: pydantic model of the content.
        what: name of the kind of file in messages, for example `a suite`.
        prepare: changes the nodes of the file before they are read; it may raise YamlFileError.
        check: yields what is wrong between parts of the file, each with the location of the part to change.
    Returns: The content as an instance of `model`.
    Raises: YamlFileError: the file is wrong.
    """
    root, data = _read(text, path, what, prepare)
    try:
        parsed = model.model_validate(data)
    except ValidationError as error:
        found = [_problem(path, root, model, dict(detail)) for detail in _without_followers(error)]
        raise YamlFileError([problem for _, problem in sorted(set(found))]) from error
    if found := [_line_and_words(path, root, location, words) for location, words in check(parsed)]:
        raise YamlFileError([problem for _, problem in sorted(set(found))])
    return parsed


def _read(text: str, path: str, what: str, prepare: Prepare | None) -> tuple[yaml.MappingNode, Any]:
    """Return the nodes of the file, which know their lines, and its data."""
    root: yaml.Node | None = None
    try:
        root = _compose(text)
        if not isinstance(root, yaml.MappingNode):
            raise YamlFileError([f"{path}:1: {what} must be a mapping that starts with `name:`."])
        if twice := [f"{path}:{line}: {key}: the key is given twice. Keep one." for key, line in _duplicate_keys(root)]:
            raise YamlFileError(twice)
        if prepare:
            prepare(root, path)
        return root, _construct(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error)
        raise YamlFileError([f"{path}:{line}: not YAML: {reason}. Check indentation and quotes."]) from error
    except ValueError as error:  # 2026-02-30, or a number of more digits than Python reads
        line = next(filter(None, map(_unreadable, _scalars(root))), 1)
        raise YamlFileError([f"{path}:{line}: a value cannot be read: {error}. Put text in quotes."]) from error
    except RecursionError as error:
        raise YamlFileError([f"{path}:1: an alias contains itself. Remove it."]) from error


def _without_followers(error: ValidationError) -> list[Any]:
    """Leave out lists that are too short only because their entries are wrong."""
    details = error.errors()
    inner = {detail["loc"][:size] for detail in details for size in range(len(detail["loc"]))}
    return [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in inner)]


def _fast_loader() -> Any:
    """Return a class that puts together in Python what libyaml reads, or PyYAML's own where libyaml is not there.

    libyaml's own composer ends the process at very deep nesting.
    """
    if not yaml.__with_libyaml__:
        return yaml.SafeLoader

    class FastLoader(Composer, yaml.CSafeLoader):
        def __init__(self, text: str) -> None:
            Composer.__init__(self)
            yaml.CSafeLoader.__init__(self, text)

    return FastLoader


_FAST_LOADER = _fast_loader()


def _compose(text: str) -> yaml.Node | None:
    try:
        return _composed(text, _FAST_LOADER)
    except (yaml.YAMLError, UnicodeEncodeError):
        return _composed(text, yaml.SafeLoader)


def _composed(text: str, loader: Any) -> yaml.Node | None:
    return yaml.compose(text, Loader=loader)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _construct(root: yaml.MappingNode) -> Any:
    return yaml.SafeLoader("").construct_document(root)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _parts(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    for part in _parts(node):
        yield from _scalars(part)


def _unreadable(node: yaml.ScalarNode) -> int | None:
    """Return the line of a scalar that YAML cannot turn into a value."""
    try:
        yaml.SafeLoader("").construct_object(node)  # pyright: ignore[reportUnknownMemberType]
    except ValueError:
        return node.start_mark.line + 1
    return None


def _duplicate_keys(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicate_keys(item, prefix)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = prefix + str(key.value)
        if name in seen and key.value != "<<":
            yield name, key.start_mark.line + 1
        seen.add(name)
        yield from _duplicate_keys(value, name + ".")


def _problem(path: str, root: yaml.Node, model: type[BaseModel], detail: dict[str, Any]) -> tuple[int, str]:
    location = _in_file(root, detail["loc"])
    return _line_and_words(path, root, location, _what_and_remedy(model, detail, location))


def _line_and_words(path: str, root: yaml.Node, location: Location, words: str) -> tuple[int, str]:
    """Return the line and `file:line: field: what is wrong and what to do`."""
    field = ".".join(str(part) for part in location) or "(file)"
    line = _line_of(root, location)
    return line, f"{path}:{line}: {field}: {words}"


def _in_file(root: yaml.Node, location: Location) -> Location:
    """Drop the parts that pydantic adds for unions, because the file does not have them."""
    kept: list[str | int] = []
    node: yaml.Node | None = root
    for part, following in zip_longest(location, location[1:]):
        child = _child(node, part)
        if child is not None or (isinstance(node, yaml.MappingNode) and not _child(node, following)):
            kept.append(part)
            node = child
    return tuple(kept)


def _child(node: yaml.Node | None, part: str | int | None) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _line_of(root: yaml.Node, location: Location) -> int:
    """Return the line of the key at `location`, or of its nearest parent in the file."""
    node, line = root, root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            line = next((key.start_mark.line for key, _ in node.value if key.value == part), line)
        child = _child(node, part)
        if child is None:
            break
        if isinstance(node, yaml.SequenceNode):
            line = child.start_mark.line
        node = child
    return line + 1


def _what_and_remedy(model: type[BaseModel], detail: dict[str, Any], location: Location) -> str:
    if detail["type"] == "extra_forbidden":
        section, name = _section_at(model, location[:-1]), str(location[-1])
        former: Mapping[str, str] = getattr(section, "FORMER", {})
        return f"unknown field. {former.get(name) or suggestion(name, _names_in(section))}"
    if detail["type"] == "missing":
        return "the field is required. Add it."
    message = _PLAIN_WORDS.get(detail["type"], "").format(**detail.get("ctx", {}))
    message = message or detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:].rstrip(".")
    if detail["input"] is None:
        return f"{message}; the value is empty."
    if isinstance(detail["input"], str | int | float | bool):
        value = repr(detail["input"])
        return f"{message}; got {value if len(value) <= _MOST_VALUE else value[:_MOST_VALUE] + '…'}."
    return message + "."


def _section_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """Return the section at `location`. Each entry of a list or mapping is a section."""
    section = model
    for part in location:
        field = section.model_fields.get(str(part))
        section = next(_sections_of(field.annotation), section) if field else section
    return section


def _names_in(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _sections_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections_of(inner)

"""Read suites from their files. Every mistake is reported by file, line, field and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import NotFound
from genai_pipeline.core.yaml_file import Location, YamlFileError, parse_yaml
from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.expansion import expand_cases
from genai_pipeline.evaluation.suite import SuiteError
from genai_pipeline.evaluation.tool_suite import KIND, ToolSuite, contradictions

SUITES = Path(__file__).with_name("suites")
AnySuite = AgentSuite | ToolSuite
_CLASSES: Mapping[str, type[AnySuite]] = {KIND: ToolSuite}
"""By what a file says after `kind:`. A file without it is a suite for agents."""
_KIND = re.compile(r"""kind\s*:\s+["']?([\w-]+)""")


def load_suite(name: str, folder: Path = SUITES, wanted: type[AnySuite] | None = None) -> AnySuite:
    """Read the suite called `name`, or the one in the file `name` where that ends in .yaml.

    Args:
        wanted: the class that the suite must have; None: any.
    Raises: NotFound: there is no such suite. SuiteError: its file is wrong.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    known = sorted(p.stem for p in folder.glob("*.yaml") if wanted in (None, _class_of(p)))
    if path.parent == folder and path.stem not in known:
        remedy = f"Allowed: {', '.join(known)}, or the path of a suite's file (….yaml)."
        raise NotFound(f"There is no suite {name!r} for this.", remedy)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read ({error}).", "Name a suite's file, in UTF-8.") from error
    return parse_suite(text, str(path), wanted or _class_of(path))


def load_agent_suite(name: str, folder: Path = SUITES) -> AgentSuite:
    """Read a suite for agents. Raises: NotFound, SuiteError."""
    suite = load_suite(name, folder, AgentSuite)
    assert isinstance(suite, AgentSuite)
    return suite


def load_tool_suite(name: str = KIND, folder: Path = SUITES) -> ToolSuite:
    """Read a suite of tool calls. Raises: NotFound, SuiteError."""
    suite = load_suite(name, folder, ToolSuite)
    assert isinstance(suite, ToolSuite)
    return suite


def parse_suite(text: str, path: str, suite: type[AnySuite] = AgentSuite) -> AnySuite:
    """Parse the text of one suite. Raises: SuiteError: with one line per mistake."""
    try:
        return parse_yaml(text, path, suite, "a suite", expand_cases, _contradictions)
    except YamlFileError as error:
        raise SuiteError(path, error.problems) from error


def _contradictions(suite: Any) -> Iterator[tuple[Location, str]]:
    return contradictions(suite) if isinstance(suite, ToolSuite) else iter(())


def _class_of(path: Path) -> type[AnySuite]:
    """The class of a suite's file; a file that cannot be read counts as a suite for agents."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            kinds = [found[1] for line in lines if (found := _KIND.match(line))]
    except (OSError, UnicodeDecodeError):
        kinds = []
    return _CLASSES.get(kinds[0], AgentSuite) if kinds else AgentSuite

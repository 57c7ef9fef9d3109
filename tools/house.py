"""Check the rules of the house that no linter knows: sizes, names of modules, private modules of dependencies.

python tools/house.py
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path("genai_pipeline")
MOST_LINES_OF_A_MODULE = 300
MOST_LINES_OF_A_FUNCTION = 40
SHARED_NAMES = {"__init__.py", "__main__.py", "abc.py"}
"""Every room may have one of these. All other names of modules are used once."""
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}


def main() -> int:
    modules = sorted(PACKAGE.rglob("*.py"))
    problems = [problem for module in modules for problem in _problems(module)]
    problems += _shared_names(modules)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _problems(module: Path) -> Iterator[str]:
    text = module.read_text()
    lines = len(text.splitlines())
    if lines > MOST_LINES_OF_A_MODULE:
        yield f"{module}: {lines} lines, {MOST_LINES_OF_A_MODULE} are allowed. Split it by what it does."
    if module.name in FORBIDDEN_NAMES:
        yield f"{module}: the name says nothing. Name the module after what it does."
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _long(module, node)
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from _private(module, node.lineno, node.module, [alias.name for alias in node.names])
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _private(module, node.lineno, alias.name, [])


def _long(module: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > MOST_LINES_OF_A_FUNCTION:
        yield f"{module}:{function.lineno}: {function.name} has {lines} lines, {MOST_LINES_OF_A_FUNCTION} are allowed."


def _private(module: Path, line: int, imported: str, names: list[str]) -> Iterator[str]:
    """Yield an import of a private module or name of another project. Dunder names such as `__future__` are public."""
    parts = imported.split(".")
    private = [part for part in [*parts, *names] if part.startswith("_") and not part.startswith("__")]
    if private and parts[0] != PACKAGE.name:
        yield f"{module}:{line}: {imported} is private. Use the public API."


def _shared_names(modules: list[Path]) -> Iterator[str]:
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for module in modules:
        by_name[module.name].append(module)
    for name, found in sorted(by_name.items()):
        if len(found) > 1 and name not in SHARED_NAMES:
            yield f"{name} is the name of {', '.join(map(str, found))}. Name each module after its topic."


if __name__ == "__main__":
    sys.exit(main())

"""Check that the project's words are plain English: docs, docstrings, comments and messages.

A word list finds the constructions that a reader who is no native speaker reads twice. A sentence of more than
25 words is reported where it stands in a page or in a docstring. Run by `make lint`:

    python tools/prose.py [--most N] [path …]
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

PLACES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks",
    "charts",
    "demo/fault_switch.py",
    "deploy",
    "docs",
    "genai_pipeline",
    "images",
    "models",
    "tools",
)
SUFFIXES = {".md", ".py", ".yaml", ".j2", ".tpl", ".txt", ".tf", ".hcl"}
MOST_WORDS = 25

BANNED = {
    r"\bnobody\b": "name who is meant, or write `no` before a noun",
    r"\bsomebody\b": "name who is meant: a user, an engineer, another process",
    r"\bwhoever\b": "name who is meant",
    r"\banew\b": "write `again`",
    r"\b(?:is|are|was|were|be) told\b": "write `reports`, `shows` or `logs`, with its subject first",
    r"\btold of\b": "write `reported`",
    r"\bof (?:ours|theirs|one's own)\b": "write whose it is before the noun",
    r"(?<!there )\b(?:is|are|was|were) (?-i:none)(?! of\b)\b": "write what it must be: `x must be an integer`",
    r"\b(?:is|are) no (?:number|text|list|mapping|schedule|version|release|name)\b": "write `is not a …`",
    r"\bWhat is not\b.*\bis\b": "start with the subject",
    r"; (?:empty|none) (?:if|where|for|without)\b": "write `or an empty text`, `or None`, and what decides",
    r"\b(?:if|where) there (?:is|are|was|were) none\b(?! of\b)": "write `without one`, or what is absent",
}
QUESTION = re.compile(r"^(What|Whether|Why|Where|Who|How|Whose)\b")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+|\n\s*\n|\n\s*(?=[-*|#>]|\d+\. )")
_ARGS = re.compile(r"^\s*(Args|Returns|Raises|Source|Yields|Attributes|Example|Examples):", re.M)


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that the project's words are plain English.")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path(place) for place in PLACES])
    parser.add_argument("--most", type=int, default=MOST_WORDS, help="words that a sentence may have")
    given = parser.parse_args()
    found = [problem for path in _files(given.paths) for problem in _problems(path, given.most)]
    for problem in found:
        print(problem)
    print(f"{len(found)} problems" if found else "Plain English: no problems found.", file=sys.stderr)
    return 1 if found else 0


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (
            file
            for file in inside
            if file.suffix in SUFFIXES and file.is_file() and file.resolve() != Path(__file__).resolve()
        )


def _problems(path: Path, most: int) -> Iterator[str]:
    text = path.read_text()
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, remedy in BANNED.items():
            if hit := re.search(pattern, line, re.I):
                yield f"{path}:{number}: {hit[0]!r}: {remedy}."
    if path.suffix == ".md":
        yield from _long_sentences(path, _prose_of(text), 1, most)
    if path.suffix == ".py":
        yield from _docstrings(path, text, most)
        yield from _comments(path, text, most)


def _prose_of(markdown: str) -> str:
    """Return the page without code blocks and tables, with its line count kept."""
    plain, fenced = [], False
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            line = ""
        plain.append("" if fenced or line.lstrip().startswith("|") else re.sub(r"\(([^)\s]+)\)", "", line))
    return "\n".join(plain)


def _docstrings(path: Path, text: str, most: int) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        doc = ast.get_docstring(node)
        if not doc:
            continue
        line = node.body[0].lineno
        if QUESTION.match(doc) and not isinstance(node, ast.Module | ast.ClassDef):
            yield f"{path}:{line}: {doc.split(maxsplit=1)[0]!r}: start the docstring with a verb."
        yield from _long_sentences(path, _without_examples(_ARGS.split(doc)[0]), line, most)


def _without_examples(doc: str) -> str:
    """Blank the indented blocks and the lines of drawn trees."""
    return "\n".join("" if line.startswith(("    ", "│", "├", "└")) else line for line in doc.splitlines())


def _comments(path: Path, text: str, most: int) -> Iterator[str]:
    block, start, last = "", 0, -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != last + 1:
            yield from _long_sentences(path, block, start, most)
            block, start = "", token.start[0]
        block, last = f"{block} {token.string.lstrip('# ')}", token.start[0]
    yield from _long_sentences(path, block, start, most)


def _long_sentences(path: Path, prose: str, first_line: int, most: int) -> Iterator[str]:
    at = 0
    for sentence in _SENTENCE_END.split(prose):
        at = prose.find(sentence, at)
        words = [word for word in sentence.split() if re.search(r"\w", word)]
        if len(words) > most:
            line = first_line + prose.count("\n", 0, at + len(sentence) - len(sentence.lstrip()))
            yield f"{path}:{line}: {len(words)} words in a sentence, {most} are allowed: {' '.join(words[:8])} …"
        at += len(sentence)


if __name__ == "__main__":
    sys.exit(main())

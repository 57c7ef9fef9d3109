"""The logs of services and of pods on this machine: their last lines, and what is added to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

TAIL_BYTES = 256 * 1024


def last_lines(file: Path, count: int) -> str:
    """Return the last lines of a log, or a sentence where the log is missing."""
    if not file.exists():
        return f"(no log yet at {file})"
    return "\n".join(tail(file, TAIL_BYTES).splitlines()[-count:]) if count else ""


def tail(file: Path, size: int) -> str:
    """Return the end of a text file, `size` bytes at most, or an empty text where the file is missing."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, _size(file) - size))
            return opened.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def follow(files: Callable[[], Sequence[Path]], poll_s: float = 0.3) -> Iterator[str]:
    """Lines as they are added, for ever. Files may come, go and be rotated; those that are there start at their end."""
    positions = {file: _size(file) for file in files()}
    while True:
        for file in files():
            start = positions.get(file, 0)
            size = _size(file)
            if size < start:  # rotated
                start = 0
            if size > start:
                with file.open("rb") as opened:
                    opened.seek(start)
                    text = opened.read(size - start)
                whole = text.rfind(b"\n") + 1
                positions[file] = start + whole
                yield from text[:whole].decode(errors="replace").splitlines()
            else:
                positions[file] = start
        time.sleep(poll_s)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0

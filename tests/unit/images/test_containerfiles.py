"""What an image is built of is there, under the name that its Containerfile has for it."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
CONTAINERFILES = sorted(file for file in PROJECT.glob("images/*/Containerfile") if "\nCOPY " in file.read_text())


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.parent.name)
def test_every_file_that_is_copied_exists_and_the_entry_point_is_among_them(file: Path):
    text = file.read_text()
    copies = [line.split() for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M)]
    sources = [name for *names, _ in copies for name in names if not name.startswith("--")]

    assert sources
    assert [name for name in sources if not (PROJECT / name).exists()] == []
    for script in re.findall(r'"(/opt/[^"]+\.py)"', text):
        assert Path(script).name in {Path(name).name for name in sources}

from __future__ import annotations

import pytest

from genai_pipeline.local.hub.hub_ranges import Unsatisfiable, byte_range


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=7-", 7, 10),
        ("bytes=-99", 0, 10),
        ("bytes=-3", 7, 10),
        ("bytes=5-99", 5, 10),
    ],
)
def test_a_range_is_cut_to_the_file(header: str, start: int, end: int) -> None:
    found = byte_range(header, 10)
    assert found is not None
    assert (found.start, found.end, found.content_range) == (start, end, f"bytes {start}-{end - 1}/10")


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=5-2", "lines=1-2", "bytes=0-1,3-4", "bytes=x-1"])
def test_what_is_no_single_range_means_the_whole_file(header: str | None) -> None:
    assert byte_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_without_a_byte_is_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        byte_range(header, size)

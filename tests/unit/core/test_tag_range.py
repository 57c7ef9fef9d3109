import pytest

from genai_pipeline.core.tag_range import TagRange

TAGS = (
    "v1.0.0",
    "v1.9.0",
    "v1.10.0",
    "v2.0.0",
    "v2.1",
    "v2.2.0-rc.1",
    "v3.0.0-beta",
    "latest",
    "release-9",
    "release-10",
)


def newest(ref: str, prereleases: bool = False, tags: tuple[str, ...] = TAGS) -> str | None:
    found = TagRange.parse(ref)
    assert found
    return found.newest(tags, prereleases)


@pytest.mark.parametrize("ref", ["main", "v2", "2", "v2.1.0-rc.1", "refs/pr/3", "0" * 40, "release-9", "feature/x"])
def test_names_are_no_ranges(ref: str) -> None:
    assert TagRange.parse(ref) is None


@pytest.mark.parametrize(
    ("ref", "tag"),
    [
        ("v1.*", "v1.10.0"),
        ("1.x || 2.*", "v2.1"),
        ("v2.*", "v2.1"),
        ("^1.4", "v1.10.0"),
        ("~1.9", "v1.9.0"),
        (">=1, <2", "v1.10.0"),
        (">= 1 < 1.10", "v1.9.0"),
        ("1.0 - 1.9", "v1.9.0"),
        ("=2.0.0", "v2.0.0"),
        ("*", "v2.1"),
        ("release-*", "release-10"),
        ("release-?", "release-9"),
        ("^4", None),
    ],
)
def test_the_newest_that_fits(ref: str, tag: str | None) -> None:
    assert newest(ref) == tag


def test_before_a_release_only_if_asked() -> None:
    assert newest("v2.*", prereleases=True) == "v2.2.0-rc.1"
    assert newest(">=2.2.0-rc.0 <3") == "v2.2.0-rc.1"
    assert newest("*", prereleases=True) == "v3.0.0-beta"
    nightly = ("build-7", "build-8-rc1")
    assert newest("build-*", tags=nightly) == "build-7"
    assert newest("build-*", True, nightly) == newest("build-*-rc*", tags=nightly) == "build-8-rc1"


def test_the_same_tags_in_any_order_give_the_same() -> None:
    twins = ("v1.0.0", "1.0.0", "v1.0.0+build")
    assert newest("1.*", tags=twins) == newest("1.*", tags=twins[::-1])


@pytest.mark.parametrize("stray", ["v2.x", "2.", "v2.latest", "٢.9.0"])
def test_a_name_that_only_begins_as_a_version_is_none(stray: str) -> None:
    assert newest("2.0.*", tags=("v2.0.0", stray)) == newest(">=2", tags=("v2.0.0", stray)) == "v2.0.0"


def test_versions_as_python_writes_them_or_of_four_numbers_fit() -> None:
    assert newest("2.*", tags=("v2.0.0rc1", "v2.0.0.9", "v2.0.0.10")) == "v2.0.0.10"


@pytest.mark.parametrize("ref", [" ", "^one", ">= two", "a b", "~x*y z"])
def test_neither_a_name_nor_a_range(ref: str) -> None:
    with pytest.raises(ValueError, match="range of versions"):
        TagRange.parse(ref)

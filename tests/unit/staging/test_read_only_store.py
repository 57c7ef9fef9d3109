"""A bucket that is only looked at."""

import inspect

import pytest

from genai_pipeline.core.errors import NotFound, Refused, StoreUnavailable
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.gateways.store.read_only import ReadOnlyStore
from tests.fakes.store import MemoryStore

READS = {"requests", "url", "elsewhere", "head", "get", "read", "list", "list_uploads", "list_parts", "now", "exists"}
WRITES = {name for name, _ in inspect.getmembers(ObjectStore, inspect.isfunction)} - READS


def test_what_is_there_can_be_read():
    inner = MemoryStore({"a/b": b"body"})
    store = ReadOnlyStore(inner)

    assert store.get("a/b")[0] == b"body"
    assert b"".join(store.read("a/b", 1)) == b"ody"
    assert [found.key for found in store.list("a/")] == ["a/b"]
    assert store.head("a/b") is not None
    assert store.exists()
    with pytest.raises(NotFound):
        store.get("none")


@pytest.mark.parametrize("name", sorted(WRITES))
def test_every_write_is_refused_and_does_not_reach_the_bucket(name):
    inner = MemoryStore({"a": b"body"})
    store = ReadOnlyStore(inner)
    upload = inner.begin_upload("a")
    before = list(inner.calls)
    given = {
        "key": "a", "body": b"", "etag": "x", "keys": ["a"], "source": "a", "target": "b", "upload": upload,
        "number": 1, "parts": [],
    }  # fmt: skip
    method = getattr(store, name)
    wanted = inspect.signature(method).parameters

    with pytest.raises(Refused):
        method(**{key: value for key, value in given.items() if key in wanted})
    assert inner.calls == before


def test_a_store_that_did_not_answer_once_is_not_asked_again():
    asked = []

    def silent(method, key):
        asked.append(method)
        raise StoreUnavailable("No answer.", "Start it.")

    store = ReadOnlyStore(MemoryStore(fail=silent))
    for question in (store.exists, lambda: store.get("a"), lambda: list(store.list(""))):
        with pytest.raises(StoreUnavailable):
            question()

    assert len(asked) == 1


def test_another_bucket_of_the_same_store_is_read_only_too():
    assert not ReadOnlyStore(MemoryStore()).elsewhere("other", None, None).writable

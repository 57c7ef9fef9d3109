"""The bucket in memory is held to the same contract as S3, so that tests on it mean something."""

from __future__ import annotations

import pytest

from genai_pipeline.core.errors import StoreUnavailable
from tests.fakes.store import MemoryStore
from tests.fakes.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


def test_it_counts_bodies_but_not_copies():
    store = MemoryStore({"old": b"xx"})
    store.put("a", b"123")
    store.copy("a", "b")
    store.upload_part(store.begin_upload("c"), 1, b"45")
    assert store.body_bytes_received == 5


def test_while_it_is_down_everything_is_unavailable():
    store = MemoryStore({"a": b"1"})
    store.go_down()
    with pytest.raises(StoreUnavailable):
        store.get("a")
    store.come_back()
    assert store.get("a")[0] == b"1"

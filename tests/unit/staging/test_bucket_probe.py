"""A bucket is tried before anything moves: one that overwrites whatever the conditions say is found out."""

import pytest

from genai_pipeline.core.errors import Refused
from genai_pipeline.staging.bucket_probe import require_conditional_writes
from genai_pipeline.staging.lease import Lease
from tests.fakes.store import MemoryStore


class Forgetful(MemoryStore):
    """Ignores one of the two conditions in silence."""

    def __init__(self, ignored: str) -> None:
        super().__init__()
        self._ignored = ignored

    def put_new(self, key: str, body: bytes) -> str:
        return self.put(key, body) if self._ignored == "If-None-Match" else super().put_new(key, body)

    def put_if_match(self, key: str, body: bytes, etag: str) -> str:
        return self.put(key, body) if self._ignored == "If-Match" else super().put_if_match(key, body, etag)


class Without(MemoryStore):
    def put_new(self, key: str, body: bytes) -> str:
        raise Refused("A header you provided implies functionality that is not implemented.")


def test_a_store_that_keeps_conditions_is_left_as_it_was():
    store = MemoryStore()

    require_conditional_writes(store)

    assert list(store.list("")) == []


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_a_condition_is_refused_by_its_name(ignored: str):
    store = Forgetful(ignored)

    with pytest.raises(Refused, match=f"ignores `{ignored}`"):
        require_conditional_writes(store)

    assert list(store.list("")) == []


def test_a_store_without_conditions_refuses_the_lease_before_any_byte_of_a_model_moves():
    with pytest.raises(Refused):
        Lease(Without(), "tiny", "a" * 40, "stage")

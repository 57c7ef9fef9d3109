"""The plan finds the same bytes elsewhere in the bucket, and asks for little."""

from __future__ import annotations

import pytest

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.staging.meter import TransferMethod
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.transfer_plan import plan_staging
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors, safetensors_of
from tests.fakes.world import FakeHub

WEIGHTS = safetensors_of(5000)


def stage(store: MemoryStore, model: str, content: str, **files: bytes) -> tuple[Snapshot, FakeHub]:
    hub = FakeHub()
    snapshot = hub.snapshot("owner/tiny", hub.publish(content, files=files))
    Stager(hub, store, 1000).stage(model, snapshot)
    return snapshot, hub


def planned(store: MemoryStore, content: str, **files: bytes) -> dict[str, tuple[TransferMethod, str | None]]:
    hub = FakeHub()
    snapshot = hub.snapshot("owner/tiny", hub.publish(content, files=files))
    return {p.file.path: (p.how, p.copy_of) for p in plan_staging("tiny", snapshot, store)}


def test_bytes_of_another_model_are_found_under_another_name():
    store = MemoryStore()
    other, _ = stage(store, "other", "v1", **{"weights.safetensors": WEIGHTS})
    source = staged_prefix("other", other.revision) + "weights.safetensors"
    assert planned(store, "v2", **{"model.safetensors": WEIGHTS}) == {
        "model.safetensors": (TransferMethod.COPIED, source)
    }


def test_a_file_of_which_the_hub_publishes_a_blob_id_only_is_found_too():
    store, hub = MemoryStore(), FakeHub()
    known = hub.snapshot("owner/tiny", hub.publish("v1", files={"config.json": b"{}", "model.safetensors": WEIGHTS}))
    assert known.files[0].sha256 is None or known.files[1].sha256 is None
    Stager(hub, store, 1000).stage("tiny", known)

    plan = planned(store, "v2", **{"config.json": b"{}", "model.safetensors": WEIGHTS})

    assert {how for how, _ in plan.values()} == {TransferMethod.COPIED}


def test_a_copy_is_checked_by_its_bytes_and_not_by_what_a_manifest_says():
    store = MemoryStore()
    first, _ = stage(store, "tiny", "v1", **{"model.safetensors": WEIGHTS})
    store.put(staged_prefix("tiny", first.revision) + "model.safetensors", WEIGHTS[:-1] + b"x")

    second, _ = stage(store, "tiny", "v2", **{"model.safetensors": WEIGHTS, "new.json": b"{}"})

    assert store.get(staged_prefix("tiny", second.revision) + "model.safetensors")[0] == WEIGHTS


def test_no_manifest_is_read_where_everything_is_there_already():
    store = MemoryStore()
    for number in range(3):
        stage(store, f"other-{number}", f"v{number}", **{"a.safetensors": safetensors(bytes([number]))})
    snapshot, _ = stage(store, "tiny", "mine", **{"model.safetensors": WEIGHTS})
    read: list[str] = []
    store.fail = lambda method, key: read.append(key) if method == "get" else None

    assert {p.how for p in plan_staging("tiny", snapshot, store)} == {TransferMethod.KEPT}

    assert read == []


def test_of_many_manifests_only_the_newest_are_read_once_all_is_found():
    store = MemoryStore()
    stage(store, "tiny", "mine", **{"model.safetensors": WEIGHTS})
    manifest = next(key for key in store.objects if key.endswith("manifest.json"))
    for number in range(100):
        store.put(f"models/other/{number:040}/manifest.json", store.objects[manifest])
    read: list[str] = []
    store.fail = lambda method, key: read.append(key) if method == "get" else None

    plan = planned(store, "v2", **{"model.safetensors": WEIGHTS, "x.json": b"same"})

    assert plan["model.safetensors"][0] is TransferMethod.COPIED
    assert manifest in read


def test_a_file_without_any_digest_is_refused():
    file = SnapshotFile("a.json", 3)
    with pytest.raises(Refused, match=r"'a\.json' has no digest"):
        plan_staging("tiny", Snapshot("a/b", "a" * 40, (file,)), MemoryStore())

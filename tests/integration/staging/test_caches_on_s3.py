"""Keeping compiled code on a real S3: two writers in both orders, and writers that are killed."""

import subprocess
import sys
import threading

import pytest

from genai_pipeline.core.compile_cache import CacheManifest, CachePlace
from genai_pipeline.core.faults import ARMED_BY
from genai_pipeline.staging.compile_caches import find, keep, orphans
from genai_pipeline.staging.sweep import sweep
from genai_pipeline.staging.transfer import PART_SIZE
from tests.fakes.compiled import ROOT, archive

PLACE = CachePlace("tiny", "a" * 40, "c" * 64)
TWO_DAYS_S = 2 * 86400.0
LARGE = {f"{ROOT}/large": bytes(PART_SIZE)}

KEEP = """
import sys
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from tests.integration.staging.test_caches_on_s3 import LARGE, archive, writes
writes(S3Store(sys.argv[1], S3Settings(sys.argv[2])), archive(files=LARGE))
"""


def writes(store, body, release="r1", before=None, pause=lambda: None):
    def pull(sink):
        sink(body)
        pause()
        return {"vllm": "0.33.0"}

    return keep(
        store, CacheManifest(PLACE.model, PLACE.revision, PLACE.key, release), pull, before or find(store, PLACE)
    )


def archives(store):
    return [o.key for o in store.list(PLACE.prefix) if o.key.endswith(".tar")]


@pytest.mark.parametrize("first_ends_first", [True, False])
@pytest.mark.parametrize("stale", [False, True], ids=["new", "stale"])
def test_of_two_writers_at_once_one_counts_and_the_other_leaves_nothing(store, first_ends_first, stale):
    """The second begins while the first has its archive and not yet its manifest."""
    if stale:
        writes(store, archive(files={f"{ROOT}/old": b"old"}))
    pulled, may_end, ended = threading.Event(), threading.Event(), []

    def pause():
        pulled.set()
        assert may_end.wait(30)

    one, two = archive(files={f"{ROOT}/one": b"1"}), archive(files={f"{ROOT}/two": b"2"})
    before = find(store, PLACE)
    first = threading.Thread(target=lambda: ended.append(writes(store, one, "r1", before, pause)))
    first.start()
    assert pulled.wait(30)
    if first_ends_first:
        may_end.set()
        first.join(30)
    second = writes(store, two, "r2", before)
    may_end.set()
    first.join(30)

    assert ended == [second]
    assert second.release == ("r1" if first_ends_first else "r2")
    assert find(store, PLACE).manifest == second
    assert archives(store) == [second.archive_key]


@pytest.mark.parametrize(
    "point", ["cache.pulled", "cache.upload_begun", "cache.archive_sent", "cache.manifest_written"]
)
@pytest.mark.parametrize("stale", [False, True], ids=["new", "stale"])
def test_a_writer_killed_anywhere_leaves_no_manifest_without_its_archive_and_a_rerun_ends_it(
    store, s3_server, point, stale
):
    if stale:
        writes(store, archive(files={f"{ROOT}/old": b"old"}))
    command = [sys.executable, "-c", KEEP, store.bucket, s3_server.endpoint]

    killed = subprocess.run(command, env=s3_server.env | {ARMED_BY: f"{point}:SIGKILL"}, timeout=60, check=False)

    assert killed.returncode == -9
    left = find(store, PLACE).manifest
    assert left is None or left.archive_key in archives(store)
    subprocess.run(command, env=s3_server.env, timeout=60, check=True)
    manifest = find(store, PLACE).manifest
    assert store.get(manifest.archive_key)[0] == archive(files=LARGE)
    later = store.now() + TWO_DAYS_S
    store.delete_all(orphans(store, later))
    sweep(store, later)
    assert archives(store) == [manifest.archive_key]
    assert not list(store.list_uploads(PLACE.prefix))

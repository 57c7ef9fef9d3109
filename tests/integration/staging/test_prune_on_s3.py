"""Pruning on a real S3: beside a stager, and killed where it changes something."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from genai_pipeline.core.compile_cache import caches_prefix
from genai_pipeline.core.faults import ARMED_BY
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.record import Record, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.staging.commit import committed
from genai_pipeline.staging.pruner import Pruner
from genai_pipeline.staging.references import references_to
from genai_pipeline.staging.stager import Stager
from tests.fakes.model_texts import model_with_tools
from tests.fakes.weights import safetensors
from tests.fakes.world import FakeHub

SPEC = model_with_tools("name: tiny\nsource: {hub: owner/tiny, ref: main}\n", "models/tiny.yaml")
FILES = {"model.safetensors": safetensors(os.urandom(6 * 1024 * 1024)), "config.json": b"{}"} | {
    f"f{n}.txt": b"x" for n in range(30)
}
ROUNDS = 12

PRUNE = """
import sys
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.staging.prune_decision import References
from genai_pipeline.staging.pruner import Pruner
pruner = Pruner(S3Store(sys.argv[1], S3Settings(sys.argv[2])), lambda models: References(), 0)
pruner.carry_out(pruner.plan())
"""


@pytest.fixture
def hub():
    hub = FakeHub()
    hub.old = hub.publish("old", files=FILES)
    hub.publish("main")
    return hub


def stage(hub, store):
    Stager(hub, store).stage("tiny", hub.snapshot("owner/tiny", hub.old))


def is_whole(store, revision):
    manifest = committed(store, "tiny", revision)
    if manifest is None:
        return None
    prefix = staged_prefix("tiny", revision)
    return all(hashlib.sha256(store.get(prefix + f.path)[0]).hexdigest() == f.sha256 for f in manifest.files)


@pytest.mark.long
def test_a_release_and_a_prune_that_race_end_with_a_whole_model_every_time(hub, store):
    files = ModelFiles((SPEC,), ())
    key = record_key("tiny", Release.of(SPEC, hub.old).id)
    record = Record("tiny", Release.of(SPEC, hub.old).id, hub.old, SPEC.model_dump(mode="json", by_alias=True))
    pruned = []

    def roll_out(start):
        start.wait(30)
        store.put(key, record.to_bytes())
        stage(hub, store)

    def prune(start):
        pruner = Pruner(store, lambda models: references_to(models, store, lambda _: hub, files, list), 0)
        decisions = pruner.plan()
        start.wait(30)
        pruned.extend(pruner.carry_out(decisions))

    stage(hub, store)
    for _ in range(ROUNDS):
        start = threading.Barrier(2)
        actors = [threading.Thread(target=act, args=(start,)) for act in (roll_out, prune)]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join(120)

        assert is_whole(store, hub.old) is True
        store.delete(key)

    assert len(pruned) == ROUNDS


@pytest.mark.parametrize(
    "point", ["prune.after_lease", "prune.after_manifest", "prune.after_batch", "prune.before_lease_goes"]
)
def test_killed_where_it_changes_something_it_leaves_no_half_model_and_a_rerun_ends_it(hub, store, s3_server, point):
    stage(hub, store)
    store.put(f"{caches_prefix('tiny', hub.old)}{'c' * 64}/{'d' * 64}.tar", b"compiled")
    before = [o.key for o in store.list(staged_prefix("tiny", hub.old))]
    command = [sys.executable, "-c", PRUNE, store.bucket, s3_server.endpoint]

    killed = subprocess.run(command, env=s3_server.env | {ARMED_BY: f"{point}:SIGKILL"}, timeout=60, check=False)
    left = [o.key for o in store.list(staged_prefix("tiny", hub.old))]

    assert killed.returncode == -9
    assert (left == before) is (point == "prune.after_lease")
    assert is_whole(store, hub.old) is (True if point == "prune.after_lease" else None)
    subprocess.run(command, env=s3_server.env, timeout=60, check=True)
    assert list(store.list("models/")) == []
    (lease,) = store.list("leases/")
    Pruner(store, lambda _: None).tidy(time.time() + 2 * 86400)
    assert lease.key not in [o.key for o in store.list("leases/")]
    assert store.head(manifest_key("tiny", hub.old)) is None

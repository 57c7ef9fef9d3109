import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genai_pipeline.core.errors import StoreUnavailable
from genai_pipeline.core.faults import ARMED_BY
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.staging.stager import Stager
from tests.fakes.stage_once import PART, files, hub_with
from tests.integration.conftest import s3_server, start_s3, store

__all__ = ["s3_server", "start_s3", "store"]
ROOT = Path(__file__).parents[3]


def stage_in_a_process(s3_server, store, content, crash_at):
    env = os.environ | s3_server.env | {ARMED_BY: crash_at, "PYTHONPATH": str(ROOT)}
    script = ROOT / "tests" / "fakes" / "stage_once.py"
    command = [sys.executable, str(script), store.bucket, content, s3_server.endpoint]
    return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)


class Counting:
    """Knows which keys were sent to the store."""

    def __init__(self, store):
        self._store, self.sent = store, set()

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put(self, key, body):
        self.sent.add(key)
        return self._store.put(key, body)

    def upload_part(self, upload, number, body):
        self.sent.add(upload.key)
        return self._store.upload_part(upload, number, body)

    def complete_upload(self, upload, parts):
        self.sent.add(upload.key)
        return self._store.complete_upload(upload, parts)


@pytest.mark.parametrize(
    ("point", "exists"),
    [
        ("staging.before_upload", False),
        ("staging.after_file", False),
        ("staging.before_manifest", False),
        ("staging.after_manifest", True),
    ],
)
def test_a_stager_killed_anywhere_leaves_no_half_model_and_a_rerun_completes_it(s3_server, store, point, exists):
    hub, revision = hub_with("abc")

    killed = stage_in_a_process(s3_server, store, "abc", point)

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (store.head(manifest_key("tiny", revision)) is not None) == exists
    before = {o.key for o in store.list("models/")}
    counting = Counting(store)
    Stager(hub, counting, PART).stage("tiny", hub.snapshot("owner/tiny", revision))
    prefix = staged_prefix("tiny", revision)
    assert {path: store.get(prefix + path)[0] for path in files("abc")} == files("abc")
    # No finished file is sent again. A put that was under way at the kill may have ended after the listing.
    assert counting.sent.isdisjoint(before)
    if not exists:
        assert before | counting.sent >= {prefix + path for path in files("abc") if len(files("abc")[path]) > PART}


def test_a_store_that_goes_down_in_the_middle_is_named_and_the_next_run_converges(start_s3, tmp_path):
    server = start_s3(tmp_path)
    store = server.store("genai")
    hub, revision = hub_with("abc")
    snapshot = hub.snapshot("owner/tiny", revision)

    class Falling(Counting):
        def upload_part(self, upload, number, body):
            if number == 2:
                server.process.kill()
                server.process.wait()
            return super().upload_part(upload, number, body)

    with pytest.raises(StoreUnavailable, match="did not"):
        Stager(hub, Falling(store), PART).stage("tiny", snapshot)

    again = start_s3(tmp_path, server.port).store("genai")
    assert again.head(manifest_key("tiny", revision)) is None
    manifest = Stager(hub, again, PART).stage("tiny", snapshot)
    assert all(v.passed or v.check == "every_shard_present" for v in Stager(hub, again).verify("tiny", snapshot))
    assert len(manifest.files) == 4

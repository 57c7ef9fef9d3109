"""`genai stage`, `verify` and `prune` as a user has them: real hub server, real S3, a Dagster that lists its runs."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genai_pipeline.cli.main import main
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.gateways.hub import content_hub
from genai_pipeline.gateways.hub.source_files import FolderFiles
from genai_pipeline.local.hub.hub_server import HubServer
from genai_pipeline.staging.lease import LEASES
from tests.fakes.model_texts import with_tools
from tests.fakes.weights import safetensors

SHARED = safetensors(os.urandom(20 * 1024 * 1024))


@pytest.fixture
def hub(tmp_path):
    repository = tmp_path / "hub" / "owner" / "model"
    for tag in ("v1", "v2"):
        (repository / tag).mkdir(parents=True)
        (repository / tag / "model.safetensors").write_bytes(SHARED)
        (repository / tag / "config.json").write_text(f'{{"tag": "{tag}"}}')
    (repository / "repo.yaml").write_text(
        "{license: mit, refs: {main: v1}, revisions: {v1: {title: One}, v2: {title: Two}}}"
    )
    with HubServer(tmp_path / "hub", tmp_path / "state") as server:
        yield server


class Dagster(ThreadingHTTPServer):
    """Answers every question with the partitions of the runs under way."""

    daemon_threads = True

    def __init__(self):
        self.partitions = []
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            runs = [
                {"runId": "12345678-90", "jobName": "j", "status": "STARTED", "creationTime": 1, "startTime": 1,
                 "endTime": None, "tags": [{"key": "dagster/partition", "value": p}], "stepStats": []}
                for p in self.server.partitions
            ]  # fmt: skip
            body = json.dumps({"data": {"runsOrError": {"results": runs}}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""


@pytest.fixture
def dagster():
    with Dagster() as server:
        yield server
        server.shutdown()


def in_this_process(args, env, folder, capfd):
    """What a process of its own would say and return, without a second of imports each time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in {*os.environ} - {*env}:
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        before = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        try:
            code = main([*args])
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, before)
        said = capfd.readouterr()
    return subprocess.CompletedProcess(args, code, said.out, said.err)


@pytest.fixture
def world(tmp_path, hub, dagster, s3_server, capfd):
    class World:
        pass

    world, bucket = World(), f"test-{uuid.uuid4().hex[:12]}"
    models = tmp_path / "models"
    models.mkdir()
    (models / "tiny.yaml").write_text(with_tools("name: tiny\nsource: {hub: owner/model, ref: main}\n"))
    world.models, world.dagster, world.store = models, dagster, s3_server.store(bucket)
    world.store.ensure_bucket()
    world.env = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "GENAI_PROFILE": "kubernetes",
        "GENAI_MODELS": str(models), "GENAI_BUCKET": bucket,
        "GENAI_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "GENAI_DAGSTER_URL": dagster.url, **s3_server.env,
    }  # fmt: skip

    def genai(*args, **more):
        if "GENAI_CRASH_AT" not in more:
            return in_this_process(args, world.env | more, tmp_path, capfd)
        command = [sys.executable, "-m", "genai_pipeline.cli", *args]
        done = subprocess.run(
            command, env=world.env | more, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
        )
        assert "Traceback" not in done.stderr
        return done

    def fates(*args):
        done = genai("prune", "--json", *args)
        return {r["revision"]: r for r in json.loads(done.stdout)["revisions"]}

    world.genai, world.fates = genai, fates
    return world


def staged(world, *args):
    """Stages, and returns the revision."""
    done = world.genai("stage", "tiny", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("/models/tiny/")[1].split("/")[0]


def test_a_plan_shows_files_and_price_and_moves_nothing(world):
    done = world.genai("stage", "tiny", "--plan")

    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in done.stdout
    assert f"{len(SHARED):,}" in done.stdout
    assert "streamed" in done.stdout
    assert "USD" in done.stdout
    assert list(world.store.list("")) == []


def test_a_plan_of_the_whole_rollout_reads_the_real_hub_and_bucket_and_writes_nothing(world):
    tools = "serving: {args: {enable-auto-tool-choice: true, tool-call-parser: mistral}}"
    (world.models / "tiny.yaml").write_text(f"name: tiny\nsource: {{hub: owner/model, ref: main}}\n{tools}\n")

    before = json.loads(world.genai("plan", "tiny", "--json", KUBECONFIG="/nonexistent").stdout)
    nothing = list(world.store.list(""))
    revision = staged(world)
    there = list(world.store.list(""))
    after = json.loads(world.genai("plan", "tiny", "--json", KUBECONFIG="/nonexistent").stdout)

    moved = [
        section["figures"]["bytes_to_stream"]
        for plan in (before, after)
        for section in plan["sections"]
        if section["title"] == "Staging"
    ]
    assert moved == [len(SHARED) + len('{"tag": "v1"}'), 0]
    assert "chat-template" in after["to_change"]["serving"]["args"]
    assert revision[:12] in str(after)
    assert nothing == []
    assert list(world.store.list("")) == there


@pytest.fixture
def folder(world, tmp_path):
    """The model of a folder, `local`."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(SHARED)
    (tmp_path / "weights" / "config.json").write_text("{}")
    (world.models / "local.yaml").write_text(
        with_tools(f"name: local\nsource: {{folder: {tmp_path / 'weights'}, licences: [any]}}\n")
    )


@pytest.mark.parametrize("how", [(), ("--plan",)])
def test_a_licence_that_the_model_file_does_not_allow_is_not_staged_by_hand_either(world, how):
    (world.models / "tiny.yaml").write_text(
        with_tools("name: tiny\nsource: {hub: owner/model, licences: [apache-2.0]}\n")
    )

    done = world.genai("stage", "tiny", *how)

    assert done.returncode == 1
    assert "The licence is mit; allowed are apache-2.0." in done.stderr
    assert list(world.store.list("")) == []


@pytest.mark.parametrize("model", ["tiny", "local"])
def test_a_plan_needs_no_bucket_makes_none_and_says_so(world, folder, s3_server, model):
    bucket = f"test-{uuid.uuid4().hex[:12]}"

    done = world.genai("stage", model, "--plan", GENAI_BUCKET=bucket)

    assert done.returncode == 0, done.stderr
    assert "streamed" in done.stdout
    assert f"bucket {bucket} does not exist yet" in done.stdout
    assert not s3_server.store(bucket).exists()


@pytest.mark.parametrize("model", ["tiny", "local"])
def test_staging_makes_the_bucket(world, folder, s3_server, model):
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    done = world.genai("stage", model, GENAI_BUCKET=bucket)
    assert done.returncode == 0, done.stderr
    assert any(o.key.endswith("manifest.json") for o in s3_server.store(bucket).list(f"models/{model}/"))


def test_a_folder_that_takes_longer_to_read_than_a_tick_waits_is_staged_all_the_same(world, folder, monkeypatch, capfd):
    for name, value in world.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(content_hub, "RESOLVE_WAIT_S", 0.0)
    may_read, read, resolve = threading.Event(), FolderFiles.read, content_hub.ContentHub.resolve

    def held_read(*args):
        assert may_read.wait(30)
        return read(*args)

    def resolve_and_let_read(*args):
        try:
            return resolve(*args)
        finally:
            may_read.set()

    monkeypatch.setattr(FolderFiles, "read", held_read)
    monkeypatch.setattr(content_hub.ContentHub, "resolve", resolve_and_let_read)

    assert main(["stage", "local"]) == 0

    told = capfd.readouterr().out
    assert " GB are read" in told
    assert "all verified" in told


def test_what_another_revision_has_is_planned_as_a_copy_and_then_copied(world):
    staged(world)

    plan = world.genai("stage", "tiny", "--revision", "v2", "--plan").stdout
    done = world.genai("stage", "tiny", "--revision", "v2").stdout

    assert "copied from models/tiny/" in plan
    assert "Saved: 20.0 MiB of 20.0 MiB" in plan
    assert "copied 20.0 MiB" in done


def test_staging_leaves_a_whole_model_and_no_lease_and_staging_again_says_so(world):
    revision = staged(world)
    assert world.store.head(manifest_key("tiny", revision))
    assert list(world.store.list(LEASES)) == []

    assert "was staged before" in world.genai("stage", "tiny").stdout
    assert "nothing to do" in world.genai("stage", "tiny", "--plan").stdout


def test_a_staging_that_has_to_end_does_so_without_a_traceback_and_goes_on_where_it_stopped(world):
    ended = world.genai("stage", "tiny", GENAI_CRASH_AT="staging.part_sent:SIGTERM")

    assert ended.returncode == 143
    assert ended.stderr.strip().endswith("goes on where it stopped.")
    assert list(world.store.list(LEASES)) == []
    assert list(world.store.list_uploads("models/")) or list(world.store.list("models/"))  # or had it whole by then
    revision = staged(world)
    assert world.store.head(manifest_key("tiny", revision))
    assert list(world.store.list_uploads("models/")) == []


def test_on_a_terminal_there_are_bars_and_the_end_is_the_same(world):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "genai_pipeline.cli", "stage", "tiny"]
    process = subprocess.Popen(command, env=world.env | {"TERM": "xterm", "COLUMNS": "150"}, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # Linux tells the end of a terminal so
        pass
    finally:
        os.close(master)
        code = process.wait(60)

    text = shown.decode(errors="replace")
    assert code == 0, text
    assert "2 of 2 files" in text
    assert "━" in text
    assert "all verified" in text


def test_a_staged_model_verifies_and_one_changed_byte_is_named_with_exit_code_1(world):
    revision = staged(world)
    good = world.genai("verify", f"tiny@{revision[:12]}")
    key = staged_prefix("tiny", revision) + "model.safetensors"
    world.store.put(key, bytes([SHARED[0] ^ 1]) + SHARED[1:])

    bad = world.genai("verify", f"tiny@{revision[:8]}")
    sampled = world.genai("verify", f"tiny@{revision[:8]}", "--sample", "1%")

    assert (good.returncode, bad.returncode, sampled.returncode) == (0, 1, 1)
    assert "publishes the same" in good.stdout
    assert "model.safetensors: has sha256" in bad.stdout
    assert "config.json" not in bad.stdout


def test_verifying_without_a_live_release_asks_for_one_and_names_those_there_are(world):
    revision = staged(world)
    done = world.genai("verify", "tiny")
    assert done.returncode == 1
    assert revision[:12] in done.stderr


@pytest.mark.parametrize("command", [["stage", "other"], ["verify", "other@abc"], ["prune", "other"]])
def test_an_unknown_model_gives_the_known_ones(world, command):
    done = world.genai(*command)
    assert done.returncode == 1
    assert "Known models: tiny." in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "prune --grace 7",
        "prune --grace soon",
        "verify tiny --sample 0%",
        "verify tiny --sample 101%",
        "stage",
        "stage tiny --revision 'a b'",
    ],
)
def test_a_wrong_word_is_exit_code_2(world, line):
    assert world.genai(*shlex.split(line)).returncode == 2


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("AWS_ENDPOINT_URL", "not a url", "Correct AWS_ENDPOINT_URL"),
        ("AWS_REGION", "eu moon", "AWS_REGION"),
        ("GENAI_BUCKET", "Bad_Name!", "Correct the name of the bucket"),
        ("HF_ENDPOINT", "not a url", "HF_ENDPOINT"),
        ("HF_ENDPOINT", "http://127.0.0.1:9", "HF_ENDPOINT"),
    ],
)
def test_a_setting_that_is_wrong_is_named(world, setting, value, says):
    done = world.genai("stage", "tiny", **{setting: value})

    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("HF_TOKEN", "s3cret\nline"),
        ("HF_TOKEN", "s3cretü"),
        ("AWS_SESSION_TOKEN", "s3cret\n"),
        ("HF_ENDPOINT", "http://user:s3cret@127.0.0.1:9"),
        ("AWS_ENDPOINT_URL", "http://user:s3cret@127.0.0.1:9"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_by_its_setting_and_not_shown(world, setting, value):
    done = world.genai("stage", "tiny", **{setting: value})

    assert done.returncode == 1
    assert setting in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_a_token_that_a_file_ends_with_a_line_is_the_token(world):
    assert world.genai("stage", "tiny", HF_TOKEN="hf_x\n").returncode == 0


def test_an_empty_region_is_the_usual_one(world):
    assert world.genai("stage", "tiny", AWS_REGION="").returncode == 0


def test_prune_keeps_for_the_grace_time_and_then_deletes_what_nothing_refers_to(world):
    main, stray = staged(world), staged(world, "--revision", "v2")
    for revision in (main, stray):
        world.store.put(f"models/tiny/caches/{revision}/{'c' * 64}/{'d' * 64}.tar", b"c" * 1024)

    assert world.fates("--dry-run", "--grace", "1h")[stray]["fate"] == "keep"
    assert world.fates("--dry-run", "--grace", "0")[stray]["fate"] == "delete"
    assert world.fates("--dry-run", "--grace", "0")[stray]["cache_bytes"] == 1024
    assert world.store.head(manifest_key("tiny", stray))
    done = world.genai("prune", "--grace", "0")

    assert done.returncode == 0, done.stderr
    assert "20.0 MiB freed" in done.stdout
    assert {key for o in world.store.list("models/tiny/") for key in o.key.split("/")[2:4]} & {main, stray} == {main}
    assert [o.key.split("/")[3] for o in world.store.list("models/tiny/caches/")] == [main]
    assert world.genai("verify", f"tiny@{main}").returncode == 0
    assert list(world.store.list(LEASES)) == []


def test_prune_deletes_results_of_releases_without_a_record_and_names_them(world):
    stale = "evaluations/tiny/0123456789ab-abcdef/weather.jsonl"
    world.store.put(stale, b"{}\n")

    told = json.loads(world.genai("prune", "--grace", "0", "--dry-run", "--json").stdout)
    done = world.genai("prune", "--grace", "0")

    assert [found["key"] for found in told["results"]] == [stale]
    assert f"deleted {stale}: its release has no record" in done.stdout
    assert world.store.head(stale) is None


def test_a_run_under_way_keeps_its_revision_and_without_dagster_nothing_is_deleted(world):
    stray = staged(world, "--revision", "v2")
    world.dagster.partitions = [f"{stray[:12]}-abcdef"]
    assert world.fates("--grace", "0")[stray]["why"] == "the run 12345678 is under way"

    done = world.genai("prune", "--grace", "0", GENAI_DAGSTER_URL="http://127.0.0.1:9")

    assert done.returncode == 1
    assert "nothing may be deleted" in done.stderr
    assert world.store.head(manifest_key("tiny", stray))


def test_what_is_unclear_is_kept_by_name_with_exit_code_1(world):
    stray = staged(world, "--revision", "v2")
    world.store.put(manifest_key("tiny", stray), b"not json")

    done = world.genai("prune", "--grace", "0")

    assert done.returncode == 1
    assert "its manifest cannot be read" in done.stdout
    assert world.store.head(manifest_key("tiny", stray))

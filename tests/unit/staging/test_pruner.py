"""Pruning what is there, beside stagers, other pruners and deaths, at every request."""

import hashlib
import threading
from datetime import UTC, datetime

import pytest

from genai_pipeline.core.compile_cache import CACHES, CacheManifest, CachePlace, caches_prefix
from genai_pipeline.core.errors import Refused, StoreUnavailable
from genai_pipeline.core.manifest import Manifest, manifest_key, staged_prefix
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.record import Live, Phase, Record, live_key, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.staging.lease import LEASES, PRUNE_LEASE_S, STAGE_LEASE_S
from genai_pipeline.staging.prune_decision import Fate, Reference
from genai_pipeline.staging.pruner import Pruner
from genai_pipeline.staging.references import references_to
from genai_pipeline.staging.stager import Stager
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors_of
from tests.fakes.world import FakeHub

DAY = 86400.0
START = 1_800_000_000.0
SPEC = model_with_tools("name: tiny\nsource: {hub: owner/tiny, ref: main}\n", "models/tiny.yaml")
WEIGHTS = safetensors_of(5000)


class Bench:
    """A hub, a bucket and a clock. `tiny` has an old revision, to which nothing refers, and the one of main."""

    def __init__(self):
        self.now = START
        self.store = MemoryStore(clock=lambda: self.now)
        self.hub = FakeHub()
        self.files = ModelFiles((SPEC,), ())
        self.runs = []
        self.named = ()
        self.old = self.stage("old")
        self.now += 30 * DAY
        self.main = self.stage("main")

    def publish(self, content):
        return self.hub.publish(content, files={"model.safetensors": WEIGHTS, "a.json": content.encode()})

    def stage(self, content):
        revision = self.publish(content)
        Stager(self.hub, self.store, part_size=1000).stage("tiny", self.hub.snapshot("owner/tiny", revision))
        return revision

    def pruner(self, grace_days=7.0):
        def referring(models):
            return references_to(models, self.store, lambda _: self.hub, self.files, lambda: self.runs, self.named)

        return Pruner(self.store, referring, grace_days * DAY)

    def fates(self, **kwargs):
        return {d.staged.revision: (d.fate, d.why) for d in self.pruner(**kwargs).plan()}

    def prune(self, **kwargs):
        pruner = self.pruner(**kwargs)
        return pruner.carry_out(pruner.plan())

    def record(self, revision, phase, days_ago=0.0):
        release = Release.of(SPEC, revision)
        record = Record("tiny", release.id, revision, SPEC.model_dump(mode="json", by_alias=True), phase)
        record = record.with_event(datetime.fromtimestamp(self.now - days_ago * DAY, UTC).isoformat(), "x")
        self.store.put(record_key("tiny", release.id), record.to_bytes())
        return release

    def keys(self, revision):
        return [o.key for o in self.store.list(staged_prefix("tiny", revision))]

    def is_whole(self, revision):
        """Whether the manifest, if there is one, names nothing but what is there, byte by byte."""
        key = manifest_key("tiny", revision)
        if key not in self.store.objects:
            return None
        manifest = Manifest.from_bytes(self.store.objects[key])
        bodies = {f.path: self.store.objects.get(staged_prefix("tiny", revision) + f.path, b"") for f in manifest.files}
        return all(hashlib.sha256(bodies[f.path]).hexdigest() == f.sha256 for f in manifest.files)


@pytest.fixture
def bench(monkeypatch):
    bench = Bench()

    def sleep(seconds):
        bench.now += seconds

    monkeypatch.setattr("genai_pipeline.staging.lease.time.sleep", sleep)
    return bench


def test_what_nothing_refers_to_is_deleted_and_the_rest_stays(bench):
    fates = bench.fates()
    assert {revision: fate for revision, (fate, _) in fates.items()} == {
        bench.old: Fate.DELETE,
        bench.main: Fate.KEEP,
    }
    assert fates[bench.main][1] == "the model file asks for it as owner/tiny@main"
    before = dict(bench.store.objects)

    (pruned,) = bench.prune()

    assert pruned.deleted
    assert set(before) - set(bench.store.objects) == {k for k in before if bench.old in k}
    assert [k for k in bench.store.objects if k.startswith(LEASES)] == []


def test_a_machine_whose_clock_is_wrong_sweeps_and_prunes_no_more_than_others(bench, monkeypatch):
    upload = bench.store.begin_upload("models/tiny/x")
    young = bench.stage("young")
    bench.publish("what the model file asks for by now")
    monkeypatch.setattr("time.time", lambda: bench.now + 100 * DAY)

    assert bench.fates()[young][0] is Fate.KEEP
    bench.stage("younger")
    bench.pruner().tidy()

    assert list(bench.store.list_uploads("")) == [upload]


def test_planning_writes_nothing(bench):
    calls = list(bench.store.calls)
    bench.fates()
    assert bench.store.calls == calls


def test_the_manifest_goes_first(bench):
    bench.store.calls.clear()
    bench.prune()
    deleted = [key for method, key in bench.store.calls if method == "delete" and key.startswith("models/")]
    assert deleted[0] == manifest_key("tiny", bench.old)
    assert len(deleted) == 3


def keep_cache(bench, revision, body=b"compiled", manifest=True):
    """What an engine of this revision compiled, as it is kept. Returns the key of the archive."""
    found = CacheManifest("tiny", revision, "c" * 64, "r", sha256=hashlib.sha256(body).hexdigest(), size=len(body))
    bench.store.put(found.archive_key, body)
    if manifest:
        bench.store.put(found.place.manifest_key, found.to_bytes())
    return found.archive_key


def test_compile_caches_go_with_their_revision_and_are_counted(bench):
    kept, gone = keep_cache(bench, bench.main), keep_cache(bench, bench.old)
    files = sum(len(bench.store.objects[key]) for key in bench.keys(bench.old))

    (pruned,) = bench.prune()

    assert pruned.decision.staged.revision == bench.old
    assert pruned.decision.staged.cache_bytes == pruned.decision.staged.size_bytes - files > 0
    assert kept in bench.store.objects
    assert not [key for key in bench.store.objects if bench.old in key]
    assert gone not in bench.store.objects


def test_a_cache_that_was_written_lately_does_not_keep_its_revision(bench):
    keep_cache(bench, bench.old)
    assert bench.fates()[bench.old][0] is Fate.DELETE


def test_caches_of_a_revision_that_is_no_longer_staged_go_after_the_grace_time(bench):
    alone = "e" * 40
    keep_cache(bench, alone)
    assert bench.fates()[alone][0] is Fate.KEEP
    release = bench.record(alone, Phase.ROLLING_OUT)
    bench.now += 8 * DAY
    assert bench.fates()[alone] == (Fate.KEEP, f"{release.id} is rolling out")
    bench.store.delete(record_key("tiny", release.id))

    assert bench.fates()[alone][0] is Fate.DELETE
    bench.prune()
    assert not list(bench.store.list(caches_prefix("tiny", alone)))


@pytest.mark.parametrize("key", ["vllm-0.33.0-h100/graph.bin", "graph.bin"])
def test_what_lies_among_the_caches_and_belongs_to_no_revision_is_kept_and_named(bench, key):
    bench.store.put(f"models/tiny/{CACHES}/{key}", b"c")
    bench.now += 300 * DAY
    assert [fate for fate, why in bench.fates().values() if key in why] == [Fate.UNCLEAR]
    bench.prune()
    assert f"models/tiny/{CACHES}/{key}" in bench.store.objects


def test_archives_that_a_killed_writer_left_are_tidied_away_after_a_day(bench):
    named, left = keep_cache(bench, bench.main), keep_cache(bench, bench.main, b"other", manifest=False)
    pruner = bench.pruner()
    assert pruner.tidy() == ""
    bench.now += 2 * DAY
    assert "1 stale compile caches" in pruner.tidy()
    assert named in bench.store.objects
    assert left not in bench.store.objects


def test_a_manifest_of_a_cache_is_no_manifest_of_a_model(bench):
    keep_cache(bench, "e" * 40)
    staged = {d.staged.revision: d.staged for d in bench.pruner().plan()}
    assert not staged["e" * 40].complete
    assert staged[bench.main].complete
    assert CachePlace("tiny", "e" * 40, "c" * 64).manifest_key in bench.store.objects


@pytest.mark.parametrize("phase", [Phase.ROLLING_OUT, Phase.LIVE])
def test_a_release_on_its_way_or_live_keeps_its_revision(bench, phase):
    release = bench.record(bench.old, phase, days_ago=29)
    assert bench.fates()[bench.old] == (Fate.KEEP, f"{release.id} is {phase}")


@pytest.mark.parametrize("phase", [Phase.REPLACED, Phase.REJECTED, Phase.ROLLED_BACK])
def test_a_release_that_ended_keeps_it_for_the_grace_time_only(bench, phase):
    release = bench.record(bench.old, phase, days_ago=3)
    assert bench.fates()[bench.old][0] is Fate.KEEP
    assert bench.fates(grace_days=2)[bench.old] == (
        Fate.DELETE,
        f"nothing refers to it; {release.id} was {phase} 3 days ago",
    )


def test_the_live_and_the_last_good_release_keep_theirs_whatever_their_records_say(bench):
    old, main = bench.record(bench.old, Phase.REPLACED, 29), bench.record(bench.main, Phase.REPLACED, 29)
    bench.store.put(live_key("tiny"), Live(main.id, bench.main, "", last_good=old.id).to_bytes())
    fates = bench.fates(grace_days=0)
    assert fates[bench.old] == (Fate.KEEP, f"{old.id} is the last good release")
    assert fates[bench.main] == (Fate.KEEP, f"{main.id} is live")


def test_a_run_under_way_keeps_its_revision(bench):
    bench.runs = [Reference("", bench.old[:12], "the run 1234 is under way")]
    assert bench.fates()[bench.old] == (Fate.KEEP, "the run 1234 is under way")


def test_runs_that_are_not_known_end_the_prune_before_it_begins(bench):
    class Unknown(list):
        def __iter__(self):
            raise Refused("Dagster does not answer.", "Start it.")

    bench.runs = Unknown()
    with pytest.raises(Refused):
        bench.prune()
    assert bench.is_whole(bench.old)


def unreadable_record(bench):
    bench.store.put(record_key("tiny", Release.of(SPEC, bench.old).id), b"{")


def unreadable_pointer(bench):
    bench.store.put(live_key("tiny"), b"[]")


def odd_record(bench):
    bench.store.put("releases/tiny/notes.txt", b"hello")


def unreadable_manifest(bench):
    bench.store.put(manifest_key("tiny", bench.old), b"not json")
    bench.now += 30 * DAY


def foreign_manifest(bench):
    bench.store.put(manifest_key("tiny", bench.old), bench.store.objects[manifest_key("tiny", bench.main)])
    bench.now += 30 * DAY


def foreign_object(bench):
    bench.store.put(staged_prefix("tiny", bench.old) + "notes.txt", b"mine")
    bench.now += 30 * DAY


def hub_down(bench):
    bench.hub.down = True


def ref_gone(bench):
    del bench.hub.refs["main"]


def wrong_model_file(bench):
    from genai_pipeline.core.errors import ModelFileError

    bench.files = ModelFiles((), (ModelFileError("models/tiny.yaml", ["wrong"]),))
    bench.named = ("tiny",)


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (unreadable_record, "the record releases/tiny/"),
        (unreadable_pointer, "the live pointer releases/tiny/live.json cannot be read"),
        (odd_record, "the record releases/tiny/notes.txt cannot be read"),
        (unreadable_manifest, "its manifest cannot be read"),
        (foreign_manifest, "its manifest is that of tiny/"),
        (foreign_object, "notes.txt, which its manifest does not name"),
        (hub_down, "the hub did not answer"),
        (ref_gone, "what owner/tiny@main stands for is not known"),
        (wrong_model_file, "models/tiny.yaml is wrong, and may be about it"),
    ],
)
def test_what_is_unclear_is_kept_by_name(bench, breaks, says):
    breaks(bench)
    before = dict(bench.store.objects)

    fate, why = bench.fates()[bench.old]
    bench.prune(grace_days=0)

    assert fate is Fate.UNCLEAR
    assert says in why
    assert bench.keys(bench.old) == sorted(k for k in before if bench.old in k and k.startswith("models/"))


def test_what_is_below_no_revision_is_kept_by_name(bench):
    bench.store.put("models/tiny/v1/model.safetensors", b"x")
    bench.store.put("models/tiny/README.md", b"x")
    bench.now += 30 * DAY
    fates = bench.fates()
    assert fates["v1"] == (Fate.UNCLEAR, "models/tiny/v1/model.safetensors is not below a revision")
    assert fates[""] == (Fate.UNCLEAR, "models/tiny/README.md is not below a revision")


def test_a_model_that_no_file_is_about_goes_only_by_name(bench):
    bench.files = ModelFiles((), ())
    fate, why = bench.fates()[bench.old]
    assert fate is Fate.KEEP
    assert "`genai prune tiny`" in why
    bench.named = ("tiny",)
    assert bench.fates()[bench.old][0] is Fate.DELETE


# What happens at once: the other one acts at each request of the one that is watched.


def requests_of(bench, action):
    """How many requests `action` makes."""
    count = 0

    def counting(method, key):
        nonlocal count
        count += 1

    bench.store.fail = counting
    action()
    bench.store.fail = None
    return count


def interrupted_at(bench, number, by):
    """Call `by` before the request of this number; what `by` itself asks for is not counted."""
    seen, me = 0, threading.get_ident()

    def hook(method, key):
        nonlocal seen
        if threading.get_ident() != me:
            return
        seen += 1
        if seen == number:
            bench.store.fail, hooked = None, bench.store.fail
            by()
            bench.store.fail = hooked

    bench.store.fail = hook


PRUNE_REQUESTS = requests_of((_bench := Bench()), lambda: _bench.prune(grace_days=0))


def restage_old(bench):
    Stager(bench.hub, bench.store, part_size=1000).stage("tiny", bench.hub.snapshot("owner/tiny", bench.old))


@pytest.mark.parametrize("number", range(1, PRUNE_REQUESTS + 1))
def test_a_stager_that_comes_at_any_request_of_a_prune_ends_with_a_whole_model(bench, monkeypatch, number):
    waiting, ended = threading.Event(), threading.Event()
    monkeypatch.setattr("genai_pipeline.staging.lease.time.sleep", lambda _: (waiting.set(), ended.wait(0.001)))
    failures = []

    def stage():
        try:
            bench.record(bench.old, Phase.ROLLING_OUT)  # the sensor writes the record before it requests the run
            restage_old(bench)
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()
            waiting.set()

    thread = threading.Thread(target=stage)
    interrupted_at(bench, number, lambda: (thread.start(), waiting.wait(30)))
    bench.prune(grace_days=0)
    bench.store.fail = None
    ended.set()
    thread.join(30)

    assert failures == []
    assert bench.is_whole(bench.old) is True


def test_every_request_of_a_prune_was_interrupted():
    assert PRUNE_REQUESTS > 15


@pytest.mark.parametrize("number", range(1, 40))
def test_a_prune_that_comes_at_any_request_of_a_stager_takes_nothing_from_it(bench, number):
    for key in bench.keys(bench.old):
        bench.store.delete(key)
    fired = []

    def prune():
        fired.append(True)
        bench.prune(grace_days=0)

    bench.record(bench.main, Phase.LIVE)
    interrupted_at(bench, number, prune)
    restage_old(bench)
    bench.store.fail = None

    after_the_end = not fired
    assert bench.is_whole(bench.old) is True
    assert after_the_end or bench.is_whole(bench.main) is True


@pytest.mark.parametrize("number", range(1, 40))
def test_a_prune_of_what_a_stager_copies_from_never_harms_the_copy(bench, number):
    """Nothing refers to `old` nor to `main` any more; the next one has the same weights."""
    bench.publish("next")
    new = bench.hub.refs["main"]
    interrupted_at(bench, number, lambda: bench.prune(grace_days=0))

    Stager(bench.hub, bench.store, part_size=1000).stage("tiny", bench.hub.snapshot("owner/tiny", new))
    bench.store.fail = None

    assert bench.is_whole(new) is True


class Killed(BaseException):
    pass


@pytest.mark.parametrize("number", range(1, PRUNE_REQUESTS + 1))
def test_a_prune_killed_at_any_request_leaves_no_half_model_and_a_rerun_converges(bench, number):
    def die():
        raise Killed

    interrupted_at(bench, number, die)
    with pytest.raises(Killed):
        bench.prune(grace_days=0)
    bench.store.fail = None

    assert bench.is_whole(bench.old) in (True, None)

    bench.prune(grace_days=0)
    assert bench.keys(bench.old) == []
    assert bench.is_whole(bench.main) is True
    bench.now += STAGE_LEASE_S + 1
    bench.pruner().tidy(bench.now)
    assert [k for k in bench.store.objects if k.startswith(LEASES)] == []


def test_a_stager_waits_for_a_dead_pruner_no_longer_than_its_lease(bench):
    def die():
        raise Killed

    interrupted_at(bench, PRUNE_REQUESTS - 1, die)
    with pytest.raises(Killed):
        bench.prune(grace_days=0)
    bench.store.fail = None
    before = bench.now

    restage_old(bench)

    assert bench.is_whole(bench.old) is True
    assert PRUNE_LEASE_S - 5 <= bench.now - before <= PRUNE_LEASE_S + 5


def test_the_lease_of_a_killed_stager_keeps_for_a_day_and_no_longer(bench):
    for key in bench.keys(bench.old)[1:]:
        bench.store.delete(key)  # what it had brought when it was killed
    bench.store.put(f"{LEASES}tiny/{bench.old}/stage-host-1-ab", b"")
    bench.record(bench.main, Phase.LIVE)

    fate, why = bench.fates(grace_days=0)[bench.old]
    assert (fate, why) == (Fate.KEEP, "it is being staged by host-1-ab")
    bench.now += STAGE_LEASE_S + 1
    assert bench.fates(grace_days=0)[bench.old][0] is Fate.DELETE


def test_a_pruner_that_was_away_for_long_stops_when_the_model_came_back(bench, monkeypatch):
    bench.store.deleted_at_once = 1
    clock = [0.0]
    monkeypatch.setattr("genai_pipeline.staging.lease.time.monotonic", lambda: clock[0])
    woken = []
    pruner = bench.pruner(grace_days=0)
    decisions = pruner.plan()
    original = bench.store.delete

    def delete(key):
        if key == manifest_key("tiny", bench.old) and not woken:
            woken.append(True)
            original(key)
            clock[0] += PRUNE_LEASE_S + 1
            bench.now += PRUNE_LEASE_S + 1
            restage_old(bench)
            return
        original(key)

    monkeypatch.setattr(bench.store, "delete", delete)
    with pytest.raises(Exception, match="staged again"):
        pruner.carry_out(decisions)

    assert woken
    assert bench.is_whole(bench.old) is True


def test_a_store_that_stops_answering_leaves_the_lease_that_holds_stagers_up(bench):
    def fail(method, key):
        if method == "delete" and key.endswith("a.json"):
            raise StoreUnavailable("The store did not answer.", "Start it.")

    bench.store.fail = fail
    with pytest.raises(StoreUnavailable):
        bench.prune(grace_days=0)
    bench.store.fail = None

    assert [k for k in bench.store.objects if k.startswith(f"{LEASES}tiny/{bench.old}/prune-")]
    assert bench.is_whole(bench.old) is None


def test_conversations_of_agents_are_no_ones_leftovers(bench):
    kept = [f"sessions/tiny/{'ab' * 16}/session.json", f"sessions/tiny/{bench.old}/agents/agent.json"]
    for key in kept:
        bench.store.put(key, b"{}")

    (pruned,) = bench.prune(grace_days=0)

    assert pruned.deleted
    assert [o.key for o in bench.store.list("sessions/")] == sorted(kept)

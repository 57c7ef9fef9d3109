import io
from dataclasses import replace

import pytest
from rich.console import Console

from genai_pipeline.cli import up
from genai_pipeline.cli.rollout_progress import AssetProgress, RolloutProgress, State
from genai_pipeline.core.errors import NotReady, ReleaseRefused
from genai_pipeline.core.model_spec import NO_AGENT, ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Live, Phase
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import failed, passed
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.dagster_api import Run
from genai_pipeline.k8s.render import render_agent
from genai_pipeline.local.installation import Installation
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeCluster, FakeHub

SPEC = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "owner/model"}})
RUN = Run("run-1", "rollout_tiny", "FAILURE", 0.0, None, "tiny", None, ())
ASSETS = (
    AssetProgress("candidate", "passed", 1.0, (passed("tool_call_parsed", "yes"),)),
    AssetProgress("serving_report", "failed", 1.0, (failed("ttft_p95", "900 ms, the gate is 800 ms"),)),
)
REJECTED = RolloutProgress("tiny", State.REJECTED, "r2", Live("r1", "a" * 40, "now"), None, RUN, ASSETS)


class Api:
    url = "http://dagster"
    run = None

    def run_url(self, run_id):
        return f"{self.url}/runs/{run_id}"

    def latest_run(self, model, release=None):
        return self.run

    def location_error(self):
        return None

    def sensor_note(self, sensor):
        return ""


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=160)


@pytest.fixture
def platform(tmp_path, monkeypatch):
    monkeypatch.setattr(up, "POLL_S", 0)
    monkeypatch.setattr(up.Supervisor, "is_running", lambda _: True)
    hub = FakeHub()
    hub.publish("v1")
    gateways = Gateways(hub, MemoryStore(), FakeCluster(), None, None, None)
    profile = Profile.load({"GENAI_HOME": str(tmp_path)})
    return up.RunningInstallation(Installation(tmp_path), profile, gateways, Api())


def test_callers_keys_lie_where_the_agents_pods_take_them_from_and_in_no_other_object(platform):
    keyed = replace(platform, profile=Profile.load({"AGENT_API_KEYS": "k1,k2"}))
    up.hand_over_keys(platform, {})
    up.hand_over_keys(keyed, {"AGENT_API_KEYS": "k1,k2"})

    (secret,) = platform.gateways.cluster.list("Secret")
    spec = model_with_tools("name: tiny\nsource: {hub: owner/tiny}\n", "tiny.yaml")
    (agent, *others) = render_agent(spec, Release.of(spec, "a" * 40), keyed.profile, "http://engine:8000")
    (taken,) = [e for e in agent["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] == "AGENT_API_KEYS"]
    reference = taken["valueFrom"]["secretKeyRef"]
    assert reference["name"] == secret["metadata"]["name"]
    assert secret["stringData"] == {reference["key"]: "k1,k2"}
    assert "k1" not in str([agent, *others])


def test_a_rejected_release_is_an_error_that_names_check_evidence_run_and_what_is_still_live(console):
    with pytest.raises(ReleaseRefused, match=r"tiny r2 \(serving_report.ttft_p95\)\. Still live: tiny r1\."):
        up.require_live([REJECTED], console, Api())

    page = console.file.getvalue()
    assert "900 ms, the gate is 800 ms" in page
    assert "http://dagster/runs/run-1" in page


def test_a_release_that_was_rolled_back_is_not_called_rejected(console):
    with pytest.raises(ReleaseRefused, match=r"^Rolled back: tiny r2"):
        up.require_live([replace(REJECTED, state=State.ROLLED_BACK)], console, Api())


def test_a_release_that_was_rejected_before_is_reported_and_what_is_live_is_shown(platform, console):
    live = Release.of(SPEC, platform.gateways.hub.refs["main"])
    records = Records(platform.gateways.store)
    records.open(SPEC, live, "found")
    records.set_live(live)
    newer = Release.of(SPEC, platform.gateways.hub.publish("v2"))
    records.open(SPEC, newer, "found")
    records.update("tiny", newer.id, lambda r: r.in_phase(Phase.REJECTED, "it was too slow"))

    (seen,) = up.watch_rollouts(platform, [SPEC], console, deadline_s=60)
    up.require_live([seen], console, Api())

    assert (seen.state, seen.release, seen.ended_before) == (State.REJECTED, newer.id, True)
    with pytest.raises(ReleaseRefused):
        up.require_live([replace(seen, live=None)], console, Api())


def test_what_stays_live_is_asked_as_what_it_is_and_not_as_what_is_wanted(platform, console, monkeypatch):
    plain, asked = SPEC.model_copy(update={"agent": NO_AGENT}), []
    live, wanted = (Release.of(spec, platform.gateways.hub.refs["main"]) for spec in (plain, SPEC))
    records = Records(platform.gateways.store)
    records.open(plain, live, "found")
    records.set_live(live)
    records.open(SPEC, wanted, "found")
    records.update("tiny", wanted.id, lambda r: r.in_phase(Phase.REJECTED, "it was too slow"))
    monkeypatch.setattr(up, "wait_until_served", lambda *_: None)
    for ending in ("addresses", "first_answer"):
        monkeypatch.setattr(up, ending, lambda gateways, spec, *_: asked.append(spec.has_agent) or [])

    (seen,) = up.watch_rollouts(platform, [SPEC], console, deadline_s=60)
    up.present(platform, SPEC, seen, console)

    assert f"tiny {live.id} stays live" in console.file.getvalue()
    assert asked == [False, False]


def test_live_releases_are_no_error(console):
    up.require_live([RolloutProgress("tiny", State.LIVE)], console, Api())

    assert console.file.getvalue() == ""


def test_watching_ends_when_the_wanted_release_is_live(platform, console):
    release = Release.of(SPEC, platform.gateways.hub.refs["main"])
    Records(platform.gateways.store).set_live(release)

    (seen,) = up.watch_rollouts(platform, [SPEC], console, deadline_s=60)

    assert (seen.state, seen.release) == (State.LIVE, release.id)


def test_at_the_deadline_it_says_what_was_waited_for_and_shows_the_nearest_log(platform, console):
    platform.installation.log("daemon").parent.mkdir()
    platform.installation.log("daemon").write_text("the daemon's last words\n")

    with pytest.raises(NotReady, match=r"tiny: the next tick[^§]*last words"):
        up.watch_rollouts(platform, [SPEC], console, deadline_s=0)


def test_watching_ends_when_the_services_are_stopped_meanwhile(platform, console, monkeypatch):
    monkeypatch.setattr(up.Supervisor, "is_running", lambda _: False)

    with pytest.raises(NotReady, match="stopped"):
        up.watch_rollouts(platform, [SPEC], console, deadline_s=0)


def test_while_a_candidate_starts_the_nearest_log_is_its_engines(platform):
    platform.gateways.cluster.logs = lambda labels, lines: f"log of {labels['app.kubernetes.io/component']}"
    starting = RolloutProgress("tiny", State.ROLLING_OUT, "r1", assets=(AssetProgress("candidate", "running", 9.0),))
    asking = RolloutProgress("tiny", State.ROLLING_OUT, "r1", assets=(AssetProgress("agent_report", "running", 9.0),))

    assert up.diagnosis(platform, [starting]) == "tiny: candidate still at work.\nlog of engine"
    assert up.diagnosis(platform, [asking]) == "tiny: agent_report still at work.\nlog of agent"


def test_a_release_that_waits_for_approval_ends_the_command_with_what_to_do(platform, console):
    manual = {"name": "tiny", "source": {"hub": "owner/model"}, "rollout": {"approval": "manual"}}
    spec = ModelSpec.model_validate(manual)
    release, records = Release.of(spec, platform.gateways.hub.refs["main"]), Records(platform.gateways.store)
    records.open(spec, release, "found")
    records.update("tiny", release.id, lambda r: r.in_phase(Phase.AWAITING_APPROVAL, "Approve it: `genai approve`"))

    (seen,) = up.watch_rollouts(platform, [spec], console, deadline_s=60)
    up.require_live([seen], console, Api())
    up.present(platform, spec, seen, console)

    assert "tiny: awaiting approval Approve it: `genai approve`" in console.file.getvalue()

"""`genai history`, `approve`, `rollback` and `rebuild` on a world with a history."""

import json

import dagster as dg
import pytest

from genai_pipeline.cli import main
from genai_pipeline.cli.context import Context
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.record import Phase, live_key, record_key
from genai_pipeline.core.verdict import Outcome, failed
from tests.defs.beginnings import begin_proven, begin_with
from tests.defs.upkeep_desk import publish, tick
from tests.fakes.model_texts import model_with_tools, with_tools

MANUAL = "name: tiny\nsource: {hub: owner/tiny, ref: main}\nrollout: {approval: manual, watch_minutes: 0}\n"


@pytest.fixture
def genai(desk, monkeypatch, tmp_path, capsys):
    """Run a command; its exit code, and what it said."""
    (tmp_path / "tiny.yaml").write_text(with_tools("name: tiny\nsource: {hub: owner/tiny}\n"))
    monkeypatch.setenv("GENAI_MODELS", str(tmp_path))
    monkeypatch.setenv("GENAI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENAI_PROFILE", "kubernetes")
    monkeypatch.setenv("GENAI_USER", "ada")
    monkeypatch.setattr(Context, "engines", lambda context: desk.engines)

    def run(*args):
        capsys.readouterr()  # what Dagster said before
        code = main([*args])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_the_history_tells_of_every_release_newest_first(desk, genai):
    begin_with(desk, "v1", "v2")
    v2, v1 = desk.live, desk.engines.records().live("tiny").last_good
    desk.verdicts["agent_report"] = [failed(v.check, "Paris\x1b[2J") for v in desk.verdicts["agent_report"]]
    desk.world.hub.publish("v3")
    desk.roll_out()

    code, said = genai("history", "tiny", "--json")

    rows = json.loads(said)["releases"]
    assert code == 0
    assert [row["state"] for row in rows] == ["rejected", "live", "replaced, last good"]
    assert [row["release"] for row in rows[1:]] == [v2, v1]
    assert rows[0]["why"].startswith("agent_report.task_success: Paris")
    assert all(row["trigger"] and row["timings"] and row["began"] and row["ended"] for row in rows)
    code, page = genai("history", "tiny")
    assert code == 0
    assert page.index(f"tiny@{rows[0]['release']}") < page.index(f"tiny@{v2}") < page.index(f"tiny@{v1}")
    assert "\x1b" not in page


def test_the_status_of_one_model_is_of_that_model_alone(genai, tmp_path):
    (tmp_path / "other.yaml").write_text(with_tools("name: other\nsource: {hub: owner/other}\n"))

    _, all_of_them = genai("status", "--json")
    code, said = genai("status", "other", "--json")

    assert [model["name"] for model in json.loads(all_of_them)["models"]] == ["other", "tiny"]
    assert (code, [model["name"] for model in json.loads(said)["models"]]) == (0, ["other"])
    code, said = genai("status", "ohter")
    assert code == 1
    assert "other" in said


def test_one_release_is_reported_event_by_event_and_named_by_its_first_digits(desk, genai):
    begin_with(desk, "v1")
    code, said = genai("history", f"tiny@{desk.live[:6]}")
    assert code == 0
    assert "went live" in said
    assert "candidate: passed" in said


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["history", "tinny"], "Did you mean tiny? Known models: tiny."),
        (["history", "tiny@zzzz"], "tiny has no release zzzz. Known releases:"),
        (["approve", "tiny"], "No releases of tiny wait for approval"),
        (["approve", "tinny@x"], "Did you mean tiny?"),
        (["rollback", "tinny"], "Did you mean tiny?"),
        (["rollback", "tiny", "--to", "zzzz"], "tiny has no release zzzz."),
        (["rollback", "tiny"], "tiny"),
    ],
)
def test_what_cannot_be_done_is_exit_code_1_and_says_what_could(desk, genai, args, says):
    begin_with(desk, "v1")
    code, said = genai(*args)
    assert code == 1
    assert "error: " in said
    assert says in said


def test_a_release_that_is_nearly_right_is_hinted_at(desk, genai):
    begin_with(desk, "v1")
    wrong = desk.live[:-1] + "z"
    code, said = genai("history", f"tiny@{wrong}")
    assert code == 1
    assert f"Did you mean {desk.live}?" in said


def test_an_approval_stands_in_the_record_with_who_gave_it_and_the_next_tick_promotes(desk, genai):
    desk.load(ModelFiles((model_with_tools(MANUAL, "models/tiny.yaml"),), ()))
    begin_proven(desk)
    (release,) = desk.releases
    assert desk.record(release).phase is Phase.AWAITING_APPROVAL

    code, said = genai("approve", "tiny")

    assert code == 0
    assert f"tiny@{release}: approved by ada" in said
    assert desk.record(release).approved.startswith("ada at ")
    (request,), _ = desk.tick()
    assert request.job_name == "promote_tiny"
    assert genai("approve", f"tiny@{release}")[0] == 0


def test_a_rollback_by_hand_gives_the_traffic_back_and_says_who_and_why(desk, genai):
    begin_with(desk, "v1", "v2")
    v2, v1 = desk.live, desk.engines.records().live("tiny").last_good

    code, said = genai("rollback", "tiny", "--reason", "answers in French")

    assert code == 0
    assert f"tiny: {v1} is live." in said
    assert desk.live == desk.engines.traffic().on("tiny") == v1
    record = desk.record(v2)
    assert record.phase is Phase.ROLLED_BACK
    assert "answers in French" in record.reason
    _, told = genai("history", "tiny", "--json")
    rows = {row["release"]: row for row in json.loads(told)["releases"]}
    assert rows[v2]["state"] == "rolled back"
    assert rows[v2]["ended_by"] == "ada"
    assert genai("rollback", "tiny")[0] == 1  # there is nothing left to go back to


def test_a_rebuild_says_what_it_reported_and_needs_no_webserver(desk, genai, monkeypatch):
    begin_with(desk, "v1")
    with dg.instance_for_test() as instance:
        home = instance.root_directory
        monkeypatch.setenv("DAGSTER_HOME", home)
        code, said = genai("rebuild")
        again = genai("rebuild", "tiny")[1]
        assert instance.get_dynamic_partitions("tiny_releases") == [desk.live]
    assert code == 0
    assert "tiny: 1 releases (1 new to Dagster), 8 materializations" in said
    assert "0 materializations and 0 check" in again
    assert genai("rebuild", "tinny")[0] == 1


def test_the_history_is_on_the_asset_too(desk):
    begin_with(desk, "v1", "v2")
    (found,) = desk.instance.fetch_materializations(dg.AssetKey(["tiny", "live"]), limit=1).records
    rows = [r.data for r in found.asset_materialization.metadata["history"].value.records]
    assert [row["release"] for row in rows] == [desk.live, desk.engines.records().live("tiny").last_good]


DAMAGED = {
    "empty": b"",
    "cut short": b'{"model": "tiny"',
    "of another kind": b"[]",
    "not text": b"\xff\xfe",
    "from a newer version": b'{"model": "tiny", "schema": 9}',
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("which", ["live", "the record of what is live", "another record"])
def test_what_cannot_be_read_is_named_and_no_sensor_falls_over_it(desk, genai, which, body):
    begin_with(desk, "v1", "v2")
    keys = {"live": live_key("tiny"), "another record": "releases/tiny/another.json"}
    key = keys.get(which) or record_key("tiny", desk.live)
    desk.world.store.put(key, body)

    code, said = genai("history", "tiny")

    assert code == 1
    assert f"{key} cannot be read" in said
    for sensor in ("new_versions", "redeploys", "live_watch"):
        assert tick(desk, sensor)[0] == []


def test_a_damaged_record_of_another_release_does_not_bar_the_way_back(desk, genai):
    begin_with(desk, "v1", "v2")
    good = desk.engines.records().live("tiny").last_good
    desk.world.store.put("releases/tiny/another.json", b"{")

    code, said = genai("rollback", "tiny")

    assert code == 0, said
    assert desk.live == good


@pytest.mark.parametrize("command", ["history", "approve", "rollback"])
@pytest.mark.parametrize("name", ["", "@", "tiny/"])
def test_a_name_that_no_model_can_have_is_unknown_and_nothing_is_taken_for_its_records(
    desk, genai, monkeypatch, command, name
):
    """A store may read `releases//` as `releases/`."""
    begin_with(desk, "v1")
    listed = desk.world.store.list
    monkeypatch.setattr(desk.world.store, "list", lambda prefix: listed(prefix.replace("//", "/")))

    code, said = genai(command, name)

    assert code == 1
    assert "There is no model" in said
    assert "delete" not in said


def test_a_way_back_that_was_begun_leads_where_it_was_begun_to(desk, genai, monkeypatch):
    begin_with(desk, "v1", "v2", "v3")
    v3, last_good = desk.live, desk.engines.records().live("tiny").last_good
    v1 = next(r.release for r in desk.engines.records().all("tiny"))
    desk.engines.roll_back().begin("tiny", "bad", "ada")

    code, said = genai("rollback", "tiny", "--to", v1)

    assert code == 1
    assert f"tiny@{v3} is being rolled back to {last_good} already" in said
    assert genai("rollback", "tiny")[0] == 0
    assert desk.live == last_good


def test_a_damaged_record_of_another_release_fails_no_rollout(desk):
    begin_with(desk, "v1")
    desk.world.store.put("releases/tiny/another.json", b"{")

    publish(desk, "v2")

    assert desk.record(desk.live).revision == desk.world.hub.resolve("owner/tiny", "main")
    assert desk.record(desk.live).phase is Phase.LIVE
    assert desk.record(desk.live).outcome_of("live") is Outcome.PASSED


def test_a_damaged_record_is_named_and_the_others_are_shown(desk, genai):
    begin_with(desk, "v1")
    desk.world.store.put("releases/tiny/another.json", b"{")

    code, said = genai("history", "tiny")

    assert code == 1
    assert "releases/tiny/another.json cannot be read" in said
    assert f"tiny@{desk.live}  live" in said

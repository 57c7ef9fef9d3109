"""What starts runs, under Dagster's own daemon and launcher: each cause has one run, which says why."""

from __future__ import annotations

import dagster as dg
import pytest

from genai_pipeline.core.record import Phase
from tests.integration.rollout.conftest import Real
from tests.integration.rollout.location import FileCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def test_a_changed_serving_section_is_one_release_and_one_run_and_the_way_back_quarantines_it(at: Real) -> None:
    first = at.until_live("changed")

    at.write_model("changed", serving={"args": {"max-model-len": 1024}})
    at.restart_code()
    second = at.until_live("changed", before=first.release)
    settle(at)

    assert second.revision == first.revision
    assert second.trigger == "serving.args.max-model-len: none -> 1024"
    proof, promotion = [run for run in at.runs("changed", release=second.release) if run.job_name != "redeploy"]
    assert {proof.status, promotion.status} == {dg.DagsterRunStatus.SUCCESS}
    assert proof.tags["genai/reason"] == f"{second.trigger} ({second.release} is new)"
    assert promotion.tags["genai/reason"] == f"{second.release} is proven"
    assert at.records.require("changed", first.release).phase is Phase.REPLACED

    at.press("roll_back", "roll_back_release", model="changed", reason="it is rude", by="bob")
    at.until(lambda: at.live("changed") == first.release, "the way back")
    settle(at)

    bad = at.records.require("changed", second.release)
    assert bad.phase is Phase.ROLLED_BACK
    assert "it is rude" in bad.reason
    assert at.live("changed") == first.release
    assert moves(at, "changed") == [*["rollout_changed", "promote_changed"] * 2, "roll_back"]


def test_drift_and_another_version_of_the_code_are_one_redeploy_each(at: Real) -> None:
    live = at.until_live("redeployed").release
    cluster, name = FileCluster(at.home / "cluster.json"), f"redeployed-{live}"
    right, wrong = cluster.get("Deployment", name), cluster.get("Deployment", name)
    assert right
    assert wrong
    wrong["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"
    cluster.apply([wrong])

    at.press("live_drift")
    at.until(lambda: redeploys(at), "the redeploy for the drift")
    settle(at)

    (healed,) = redeploys(at)
    assert healed.tags["genai/reason"].startswith(f"drift: Deployment {name}")
    assert cluster.get("Deployment", name) == right

    at.version = "9.9.9"
    at.restart_code()
    at.until(lambda: len(redeploys(at)) > 1, "the redeploy for the version")
    settle(at)

    _, upgraded = redeploys(at)
    assert "-> 9.9.9; agent: image changed from" in upgraded.tags["genai/reason"]
    told = [event.what for event in at.records.require("redeployed", live).history]
    for run in (healed, upgraded):
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert f"redeployed: {run.tags['genai/reason']}" in told
    assert at.live("redeployed") == live


def test_what_waits_for_approval_is_promoted_once_however_often_it_is_approved(at: Real) -> None:
    at.until(lambda: waiting(at), "it waits for approval")
    release = waiting(at)
    settle(at)
    assert at.live("manual") is None

    pressed = at.command("genai_pipeline.cli", "approve", f"manual@{release}")
    at.press("approve", "approve_release", model="manual", release=release, by="bob")
    at.until_live("manual")
    again = at.command("genai_pipeline.cli", "approve", f"manual@{release}")
    settle(at)

    for command in (pressed, again):
        assert command.returncode == 0, command.stderr + command.stdout
    record = at.records.require("manual", release)
    assert [e.what for e in record.history if e.what.startswith("approved")] == ["approved by ada"]
    assert moves(at, "manual") == ["rollout_manual", "promote_manual"]
    (promoted,) = [run for run in at.runs("manual") if run.job_name == "promote_manual"]
    assert "approved by ada" in promoted.tags["genai/reason"]


def moves(at: Real, model: str) -> list[str]:
    """The jobs that moved traffic; the version that another test sets is deployed beside them."""
    return [run.job_name for run in at.runs(model) if run.job_name != "redeploy"]


def redeploys(at: Real) -> list[dg.DagsterRun]:
    return [run for run in at.runs("redeployed") if run.job_name == "redeploy"]


def waiting(at: Real) -> str:
    return next((r.release for r in at.records.all("manual") if r.phase is Phase.AWAITING_APPROVAL), "")


def settle(at: Real) -> None:
    """Let every sensor look again: a second run would be asked for now."""
    before = at.ticks()
    at.until(lambda: at.ticks() >= before + 8, "more ticks")

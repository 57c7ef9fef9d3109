"""What the UI shows of a staging, while it goes on and after it."""

import dagster as dg

from genai_pipeline.assets.staging_metadata import OBSERVE_EVERY_S, StagingWatch, staged_metadata
from genai_pipeline.core.manifest import Manifest, ManifestFile
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.staging.meter import FileProgress, StagingProgress, TransferMethod
from tests.defs.beginnings import begin_with
from tests.defs.desk import MODEL
from tests.fakes.model_texts import model_with_tools
from tests.fakes.weights import safetensors_of

KEY = dg.AssetKey(["tiny", "staged_model"])


def metadata_of(result):
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == KEY]
    return event.step_materialization_data.materialization.metadata


def test_the_materialization_shows_files_bytes_rate_plan_and_plot(desk):
    desk.world.hub.publish("v1")

    shown = metadata_of(desk.roll_out())

    rows = [r.data for r in shown["files"].value.records]
    assert {r["path"] for r in rows} == {
        "chat_template.jinja",
        "config.json",
        "model.safetensors.index.json",
        "model-00001-of-00001.safetensors",
    }
    assert all(len(r["sha256"]) == 64 and r["how"] == "streamed" for r in rows)
    size = sum(r["bytes"] for r in rows)
    assert shown["bytes"].value == shown["bytes_from_source"].value == shown["bytes_done"].value == size
    assert shown["bytes_copied"].value == shown["bytes_kept"].value == 0
    assert [r.data for r in shown["plan"].value.records] == [{"how": "streamed", "files": 4, "bytes": size}]
    assert "data:image/svg+xml;base64," in shown["plot"].value
    assert shown["prefix"].value.startswith("s3://genai/models/tiny/")
    staging = Records(desk.world.store).get("tiny", desk.releases[0]).facts.staging
    assert (staging.bytes, staging.seconds > 0) == (size, True)


def test_the_snapshot_shows_what_is_left_out_and_why(desk):
    index = b'{"weight_map": {"a": "model-00001-of-00001.safetensors"}}'
    shard = safetensors_of(500)
    weights = {"model-00001-of-00001.safetensors": shard, "consolidated.safetensors": safetensors_of(500, b"c")}
    files = {"config.json": b"{}", "chat_template.jinja": b"{}", "model.safetensors.index.json": index, **weights}
    desk.world.hub.publish("v1", files=files)

    result = desk.roll_out()

    (event,) = [
        e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(["tiny", "snapshot"])
    ]
    (row,) = event.step_materialization_data.materialization.metadata["left_out"].value.records
    assert row.data["path"] == "consolidated.safetensors"
    assert "does not name it" in row.data["why"]
    assert "consolidated.safetensors" not in {r.data["path"] for r in metadata_of(result)["files"].value.records}


def test_bytes_that_another_revision_had_are_shown_as_copied(desk):
    weights = safetensors_of(5000)
    files = {"model.safetensors": weights, "chat_template.jinja": b"{}"}
    desk.world.hub.publish("v1", files=files | {"config.json": b"{}"})
    desk.roll_out()
    desk.world.hub.publish("v2", files=files | {"config.json": b"{ }"})

    shown = metadata_of(desk.roll_out())

    assert shown["bytes_copied"].value == 5002
    assert shown["bytes_from_source"].value == 3


def test_a_revision_that_is_staged_already_shows_its_files_and_nothing_that_moved(desk):
    begin_with(desk, "v1")
    measured = Records(desk.world.store).get("tiny", desk.releases[0]).facts.staging

    shown = metadata_of(desk.materialize("staged_model", desk.releases[0]))

    assert "plot" not in shown
    assert "bytes_from_source" not in shown
    assert Records(desk.world.store).get("tiny", desk.releases[0]).facts.staging == measured
    assert len(shown["files"].value.records) == 4


def test_while_it_goes_on_the_plan_is_an_observation_of_the_asset(desk):
    begin_with(desk, "v1")

    found = desk.instance.fetch_observations(KEY, limit=10).records
    (first,) = found
    assert first.partition_key == desk.releases[0]
    assert "plan" in first.asset_observation.metadata


def test_a_release_whose_draft_is_not_staged_ends_before_its_own_bytes_move(desk):
    address = f"s3://genai/models/draft/{'ab' * 20}/"
    drafted = f"speculative-config: {{model: '{address}'}}, enable-auto-tool-choice"
    text = MODEL.replace("enable-auto-tool-choice", drafted)
    desk.load(ModelFiles((model_with_tools(text, "models/tiny.yaml"),), ()))
    desk.world.hub.publish("v1")

    desk.prove()

    (why,) = {v.summary for n, v in _verdicts(desk).items() if n.startswith("staged_model.")}
    assert f"{address}, which is not staged" in why
    assert list(desk.world.store.list("models/")) == []


def _verdicts(desk):
    return Records(desk.world.store).get("tiny", desk.releases[0]).verdicts


def state(done, at_s, finished=False):
    files = (FileProgress("a", 100, TransferMethod.STREAMED, done, 0.0, at_s if done == 100 else None),)
    return StagingProgress("m", "r", at_s, files, done, 0, 0, {"PutObject": 2, "source": 1}, finished=finished)


def test_observations_come_at_most_every_ten_seconds_and_the_end_is_the_materializations(monkeypatch):
    clock, seen = [0.0], []
    monkeypatch.setattr("genai_pipeline.assets.staging_metadata.time.monotonic", lambda: clock[0])
    watch = StagingWatch(seen.append)
    for second in range(35):
        clock[0] = float(second)
        watch(state(second, clock[0]))
    watch(state(100, 36.0, finished=True))

    assert [m["bytes_done"] for m in seen] == [0, 10, 20, 30]
    assert OBSERVE_EVERY_S == 10


def test_requests_are_priced_by_a_list_whose_date_and_region_are_named():
    watch = StagingWatch(lambda _: None)
    watch(state(100, 1.0, finished=True))
    file = ManifestFile("a", 100, "0" * 64, "e")

    shown = staged_metadata(Manifest("m", "o/m", "r", (file,), "me", "now"), watch)

    assert shown["requests_usd"] == 0.00001
    assert "us-east-1" in shown["prices"]
    assert [r.data["operation"] for r in shown["requests"].records] == ["PutObject", "source"]

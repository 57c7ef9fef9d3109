"""platform/observability with a live model: what is not seen on dashboards is shown, and holds no rollout."""

from dataclasses import replace

import dagster as dg

from genai_pipeline.assets.live import what_serves
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.resources.engines import Engines
from tests.defs.desk import MODEL
from tests.defs.upkeep_desk import end_watch
from tests.fakes.model_texts import model_with_tools

KEY = dg.AssetKey(["platform", "observability"])


def test_it_asks_about_the_live_release_and_without_an_answer_only_warns(desk):
    desk.load(ModelFiles((model_with_tools(MODEL, "models/tiny.yaml"),), ()))
    desk.world.hub.publish("v1")
    assert desk.roll_out().success
    end_watch(desk)

    def checks():
        job = dg.define_asset_job("look", dg.AssetSelection.assets(KEY))
        defs = dg.Definitions.merge(desk.defs, dg.Definitions(jobs=[job]))
        result = defs.resolve_job_def("look").execute_in_process(instance=desk.instance, raise_on_error=False)
        assert result.success
        return {e.check_name: e for e in result.get_asset_check_evaluations()}

    without = checks()
    desk.world.samples["up"] = [("up", {}, 1.0)]
    scraped = checks()
    desk.world.samples["up"] = [("up", {}, 0.0)]
    down = checks()

    assert without["metrics_readable"].passed
    assert not without["engines_scraped"].passed
    assert without["engines_scraped"].severity is dg.AssetCheckSeverity.WARN
    assert scraped["engines_scraped"].passed
    assert (down["engines_scraped"].passed, down["engines_scraped"].severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_the_live_release_leads_to_its_dashboard_where_there_is_one(desk):
    desk.load(ModelFiles((model_with_tools(MODEL, "models/tiny.yaml"),), ()))
    with_dashboards = replace(desk.engines.profile, dashboards_url="https://grafana.example/")

    shown = what_serves(Engines(with_dashboards, desk.engines.gateways), "tiny")

    assert shown["dashboard"].url == "https://grafana.example/d/genai-service?var-model=tiny"
    assert "dashboard" not in what_serves(desk.engines, "tiny")

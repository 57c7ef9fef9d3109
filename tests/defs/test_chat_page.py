"""The chat page asks models that write text, and only names the others. Open WebUI can take its place."""

import json
from dataclasses import replace

import dagster as dg
import pytest

from genai_pipeline.core.model_file import ModelFiles, parse_model
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import render_engine, render_stable
from tests.defs.desk import Desk
from tests.fakes.world import PROFILE, World

CHAT = parse_model("name: talker\nsource: {hub: owner/talker}\nagent: none\n", "models/talker.yaml")
TEXT = parse_model("name: writer\nsource: {hub: owner/writer}\ntask: completion\n", "models/writer.yaml")
VECTORS = parse_model("name: vectors\nsource: {hub: owner/vectors}\ntask: embed\n", "models/vectors.yaml")


def materialized(desk, specs, live):
    """Materialize the page of these models while some of them are live."""
    desk.load(ModelFiles(tuple(specs), ()))
    for spec in live:
        release = Release.of(spec, "a" * 40)
        desk.world.cluster.apply(render_engine(spec, release, PROFILE) + render_stable(release, PROFILE, "engine"))
    return dg.materialize(
        [a for a in desk.defs.assets if isinstance(a, dg.AssetsDefinition)],
        selection=[dg.AssetKey(["platform", "chat_ui"])],
        instance=desk.instance,
        resources=desk.defs.resources,
    )


def on_the_page(desk):
    container = desk.world.cluster.get("Deployment", "chat-ui")["spec"]["template"]["spec"]["containers"][0]
    models = json.loads(next(e["value"] for e in container["env"] if e["name"] == "CHAT_MODELS"))
    return {name: model["path"] for name, model in models.items()}


def test_live_models_that_write_text_are_asked_and_the_others_are_named(desk):
    result = materialized(desk, [CHAT, TEXT, VECTORS], [CHAT, TEXT, VECTORS])

    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert [row.data["model"] for row in check.metadata["models"].records] == ["talker", "writer"]
    assert on_the_page(desk) == {
        "talker": "/v1/chat/completions",
        "writer": "/v1/completions",
        "vectors": "/v1/embeddings",
    }


@pytest.mark.parametrize("live", [[VECTORS], []])
def test_while_no_live_model_writes_text_nothing_was_asked_so_nothing_passed(desk, live):
    result = materialized(desk, [CHAT, VECTORS], live)

    (check,) = result.get_asset_check_evaluations()
    assert result.success
    assert not check.passed
    assert check.metadata["outcome"].value == "inconclusive"


def test_where_no_model_writes_text_the_page_has_no_check(desk):
    result = materialized(desk, [VECTORS], [VECTORS])

    assert result.success
    assert result.get_asset_check_evaluations() == []
    assert on_the_page(desk) == {"vectors": "/v1/embeddings"}


@pytest.fixture
def asked():
    """The addresses at which models were asked."""
    return []


@pytest.fixture
def open_webui(asked):
    world = World()
    gateways = world.gateways()

    def inference(url):
        asked.append(url)
        return gateways.inference(url)

    chosen = replace(PROFILE, chat="open-webui", chat_secret="chat")
    return Desk(world, replace(gateways, inference=inference), chosen)


def test_with_open_webui_the_models_are_asked_where_it_asks_them(open_webui, asked):
    result = materialized(open_webui, [CHAT, TEXT, VECTORS], [CHAT, TEXT, VECTORS])

    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert [row.data["model"] for row in check.metadata["models"].records] == ["talker", "writer"]
    assert asked == ["http://talker", "http://writer"]
    deployed = open_webui.world.cluster.get("Deployment", "chat-ui")
    assert "open-webui" in deployed["spec"]["template"]["spec"]["containers"][0]["image"]


def test_a_promotion_that_changes_no_name_leaves_open_webui_as_it_is(open_webui):
    def generation():
        return open_webui.world.cluster.get("Deployment", "chat-ui")["spec"]

    materialized(open_webui, [CHAT], [CHAT])
    before = generation()
    release = Release.of(CHAT, "b" * 40)
    open_webui.world.cluster.apply(render_engine(CHAT, release, PROFILE) + render_stable(release, PROFILE, "engine"))
    materialized(open_webui, [CHAT], [])

    assert generation() == before

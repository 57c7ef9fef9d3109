"""`genai plan` over an in-memory world whose bucket and cluster refuse every write."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from genai_pipeline.cli.plan.model_file_section import look_at_file
from genai_pipeline.cli.plan.model_plan import plan_model, read_only
from genai_pipeline.core.compile_cache import CacheManifest
from genai_pipeline.core.errors import ClusterUnavailable, NotFound, StoreUnavailable, Unavailable
from genai_pipeline.core.facts import Facts, StagingFigures
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.record import Phase
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.aws.abc import Aws, InstanceType
from genai_pipeline.gateways.dagster_api import Run
from genai_pipeline.k8s.cache_pin import cache_place
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.staging.stager import Stager
from tests.fakes.weights import safetensors
from tests.fakes.world import PROFILE, FakeCluster, World

MODEL = """name: tiny
source: {hub: owner/tiny}
serving: {args: {enable-auto-tool-choice: true, tool-call-parser: mistral}}
"""
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"[TOOL_CALLS]{{ messages }}",
    "model.safetensors.index.json": json.dumps({"weight_map": {"a": ONE, "b": TWO}}).encode(),
    ONE: safetensors(b"one" * 1000),
    TWO: safetensors(b"two" * 1000),
}
WITHOUT_TEMPLATE = {path: body for path, body in FILES.items() if path != "chat_template.jinja"}


class LookedAtCluster(FakeCluster):
    """A cluster that takes no change."""

    def apply(self, objects, take_back=False):
        raise AssertionError("apply")

    def scale(self, deployment, replicas):
        raise AssertionError("scale")

    def delete(self, kind, name, deadline_s=60):
        raise AssertionError("delete")


class SilentCluster(LookedAtCluster):
    def _down(self, *_, **__):
        raise ClusterUnavailable("The cluster does not answer.", "Start it.")

    get = list = diff = headroom = _down


class Desk:
    """One model file, and the world that it is planned against."""

    def __init__(self, folder) -> None:
        self.models = folder / "models"
        self.models.mkdir()
        self.world = World(cluster=LookedAtCluster())
        self.profile = replace(PROFILE, name="kubernetes", s3_endpoint="http://s3:9000")
        self.aws, self.runs = None, []

    def write(self, text=MODEL, name="tiny.yaml"):
        (self.models / name).write_text(text)

    def publish(self, files=FILES, content="v1"):
        return self.world.hub.publish(content, files=files)

    def plan(self, asked="tiny"):
        gateways = replace(self.world.gateways(), aws=self.aws)
        engines = read_only(Engines(self.profile, gateways))
        before, calls = dict(self.world.store.objects), len(self.world.store.calls)
        file = look_at_file(asked, self.models, self.profile.name == "local")
        found = plan_model(file, engines, self._runs, lambda name: "0.32.0", lambda _: None)
        assert (self.world.store.objects, self.world.store.calls[calls:]) == (before, [])
        self.page = "\n".join(found.page())
        return found

    def _runs(self):
        if isinstance(self.runs, Unavailable):
            raise self.runs
        return self.runs

    def record(self, phase, **changes):
        spec = parse_model(MODEL, "f")
        release = Release.of(spec, self.world.hub.refs["main"])
        records = Records(self.world.store)
        records.open(spec, release, "found")
        records.update("tiny", release.id, lambda r: replace(r.in_phase(phase, "too slow"), **changes))
        return release


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    desk.write()
    desk.publish()
    return desk


def lines(plan, title, level=None):
    found = next(section for section in plan.sections if section.title == title)
    return [line.text for line in found.lines if level in (None, line.level)]


def figures(plan, title):
    return next(section for section in plan.sections if section.title == title).figures


def test_a_model_that_is_ready_would_go_live_and_nothing_is_written(desk):
    plan = desk.plan()

    assert plan.outcome == "would go live", desk.page
    assert [s.title for s in plan.sections] == ["File", "Source", "Staging", "Engine", "Room", "Proof", "Next tick"]
    assert plan.to_change == {}
    assert figures(plan, "Source")["bytes_loaded"] == len(FILES[ONE]) + len(FILES[TWO])
    assert figures(plan, "Staging")["bytes_to_stream"] == sum(map(len, FILES.values()))
    assert figures(plan, "Room")["strategy"] == "blue_green"
    assert figures(plan, "Next tick")["step"] == "start"
    assert not desk.world.store.objects


def test_the_json_says_the_same(desk):
    plan = desk.plan()

    said = json.loads(json.dumps(plan.to_json()))

    assert (said["schema"], said["model"], said["outcome"]) == (1, "tiny", "would go live")
    assert {line["level"] for section in said["sections"] for line in section["lines"]} <= {"ok", "hint"}


def test_a_file_that_is_wrong_in_several_ways_is_right_with_the_lines_that_are_printed(desk):
    desk.write(
        "name: tiny\nsource: {hub: owner/tiny, exclude: ['*.txt']}\n"
        "serving:\n  args: {enable-auto-tool-choice: true, tool-call-parser: hermes, chat-template: '[TOOL_CALLS]{'}\n"
        "  resources: {memory_gib: 0.000001}\n"
    )  # fmt: skip
    desk.world.hub.licence = "cc-by-nc-4.0"
    desk.publish(WITHOUT_TEMPLATE | {"weights.bin": b"pickle"}, "v2")

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert plan.to_change["source"] == {
        "exclude": ["*.txt", "*.bin"],
        "licences": ["apache-2.0", "mit", "bsd-3-clause", "llama3.1", "gemma", "cc-by-nc-4.0"],
    }
    assert plan.to_change["serving"] == {"args": {"tool-call-parser": "mistral"}, "resources": {"memory_gib": 2}}
    snippet = desk.page.partition("To change in the model file:\n")[2].partition("\n\n")[0]
    assert yaml.safe_load(snippet) == plan.to_change

    written = yaml.safe_load((desk.models / "tiny.yaml").read_text())
    for section, fields in plan.to_change.items():
        for field, value in fields.items():
            inner = written[section].get(field)
            written[section][field] = {**inner, **value} if isinstance(inner, dict) else value
    desk.write(yaml.safe_dump(written))
    assert desk.plan().outcome == "would go live", desk.page


def test_mistakes_are_named_by_line_and_the_rest_is_looked_at_where_every_field_is_right(desk):
    desk.write(
        "name: tiny\nsource: {hub: owner/tiny}\nserving:\n  args:\n    max-modellen: 5\n    tool-call-parser: 7.5\n"
    )

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert any("tiny.yaml:5: serving.args.max-modellen" in line for line in lines(plan, "File", "change"))
    assert figures(plan, "Source")["files"] == len(FILES)


def test_a_credential_in_a_refused_file_is_not_shown(desk):
    desk.write(MODEL.replace("args: {", "args: {api-key: s3cret, "))

    assert desk.plan().outcome == "to change"
    assert "s3cret" not in desk.page
    assert "s3cret" not in json.dumps(desk.plan().to_json())


def test_a_file_with_wrong_fields_names_them_all(desk):
    desk.write("name: tiny\nsource: {hub: owner/tiny}\nserving: {engin: vllm}\nrollout: {watch_minutes: long}\n")

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert [line.split(": ")[0][-5:] for line in lines(plan, "File")] == ["aml:3", "aml:4"]


def test_where_nothing_answers_the_rest_is_still_printed(desk):
    desk.world.hub.down = True
    desk.world.store.go_down()
    desk.world.cluster = SilentCluster()
    desk.runs = Unavailable("Dagster does not answer.", "Start it.")

    plan = desk.plan()

    assert plan.outcome == "not all known"
    for title in ("Source", "Room", "Next tick"):
        assert all(line.startswith("not known: ") for line in lines(plan, title, "unknown"))
        assert lines(plan, title, "unknown")
    assert lines(plan, "Proof", "ok")
    assert any("vllm serve --model=" in line for line in lines(plan, "Engine"))


@pytest.mark.parametrize("silent", ["store", "cluster", "runs"])
def test_one_that_does_not_answer_is_named_and_the_others_are_asked(desk, silent):
    if silent == "store":
        desk.world.store.go_down()
    elif silent == "cluster":
        desk.world.cluster = SilentCluster()
    else:
        desk.runs = Unavailable("Dagster does not answer.", "Start it.")

    plan = desk.plan()

    assert plan.outcome == "not all known"
    assert figures(plan, "Source")["files"] == len(FILES)
    asked = {"Room": "strategy", "Next tick": "step"}
    assert [title for title, figure in asked.items() if figure in figures(plan, title)] == {
        "store": ["Room"], "cluster": ["Next tick"], "runs": ["Room", "Next tick"],
    }[silent]  # fmt: skip


def test_a_folder_is_planned_without_any_service_and_its_digests_are_not_kept(desk, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    for path, body in FILES.items():
        (weights / path).write_bytes(body)
    desk.write(MODEL.replace("hub: owner/tiny", f"folder: {weights}, licences: [any]"))
    assert figures(desk.plan(), "Source")["files"] == len(FILES)
    desk.world.store.go_down()

    plan = desk.plan()

    assert figures(plan, "Source")["files"] == len(FILES)
    assert plan.outcome == "not all known"


def test_a_model_that_has_no_agent_or_does_not_chat_is_asked_less(desk):
    desk.publish(WITHOUT_TEMPLATE, "v2")
    desk.write("name: tiny\nsource: {hub: owner/tiny}\ntask: embed\n")

    embeds = desk.plan()

    assert embeds.outcome == "would go live", desk.page
    assert "agent_report" not in figures(embeds, "Proof")["checks"]
    assert any("Not applicable: " in line and "serving_report.ttft_p95" in line for line in lines(embeds, "Proof"))

    desk.write("name: tiny\nsource: {hub: owner/tiny}\nagent: none\n")
    assert desk.plan().outcome == "to change"  # it is still asked in chats
    desk.publish(FILES, "v3")
    assert desk.plan().outcome == "would go live", desk.page


def test_a_model_without_a_chat_template_must_be_changed(desk):
    desk.publish(WITHOUT_TEMPLATE, "v2")

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert "chat-template" in plan.to_change["serving"]["args"]


def test_weights_that_are_right_count_as_loaded_where_something_else_must_change(desk):
    desk.publish(WITHOUT_TEMPLATE)

    assert figures(desk.plan(), "Source")["bytes_loaded"] == len(FILES[ONE]) + len(FILES[TWO])


def test_one_refusal_is_one_line(desk):
    desk.publish({path: body for path, body in FILES.items() if path != TWO})

    assert len(lines(desk.plan(), "Source", "change")) == 1


def test_a_source_that_was_not_seen_promises_nothing(desk):
    desk.world.hub.down = True

    assert desk.plan().outcome == "not all known"
    assert "It would go live" not in desk.page


@pytest.mark.parametrize("weights", [{"pytorch_model.bin": b"x"}, {"m-Q4_K_M.gguf": b"GGUF"}])
def test_a_repository_without_safetensors_gets_no_advice_that_leads_nowhere(desk, weights):
    desk.publish({"config.json": b"{}", "tokenizer.json": b"{}", "chat_template.jinja": b"x", **weights})

    assert desk.plan().to_change["source"] == {"ref": "refs/pr/<number>"}


def test_parsers_that_do_not_fit_are_hints_with_lines(desk):
    desk.publish(FILES | {"chat_template.jinja": b"<tool_call></think>"}, "v2")

    plan = desk.plan()

    assert plan.outcome == "would go live"
    assert plan.to_change == {"serving": {"args": {"tool-call-parser": "hermes", "reasoning-parser": "qwen3"}}}
    assert "Worth changing" in desk.page


def test_a_refused_header_is_seen_before_a_byte_moves(desk):
    desk.publish(FILES | {TWO: b"no header at all"}, "v2")

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert any(TWO in line for line in lines(plan, "Source", "change"))


def test_bytes_that_are_there_are_not_copied(desk):
    first = desk.world.hub.refs["main"]
    hub = desk.world.hub
    Stager(hub, desk.world.store).stage("tiny", hub.snapshot("owner/tiny", first))
    assert "is staged already: nothing is copied" in lines(desk.plan(), "Staging")[0]
    desk.publish(FILES | {TWO: safetensors(b"new" * 1000)}, "v2")

    found = figures(desk.plan(), "Staging")

    assert found["bytes_to_stream"] == len(FILES[TWO])
    assert found["bytes_to_copy"] == sum(map(len, FILES.values())) - len(FILES[TWO])


def test_a_revision_that_an_argument_names_must_be_staged(desk):
    revision = desk.world.hub.refs["main"]
    draft = f"speculative-config: {{model: 's3://genai/models/draft/{revision}/', num_speculative_tokens: 2}}"
    desk.write(MODEL.replace("tool-call-parser: mistral", f"tool-call-parser: mistral, {draft}"))
    assert any("not staged" in line for line in lines(desk.plan(), "Staging", "change"))

    Stager(desk.world.hub, desk.world.store).stage("draft", desk.world.hub.snapshot("owner/tiny", revision))

    assert desk.plan().outcome == "would go live", desk.page


def test_minutes_come_from_earlier_stagings(desk):
    assert any("assumed" in line for line in lines(desk.plan(), "Staging"))
    size = sum(map(len, FILES.values()))
    desk.record(Phase.SUPERSEDED, facts=Facts(staging=StagingFigures(bytes=size, seconds=120.0)))

    plan = desk.plan()

    assert figures(plan, "Staging")["minutes"] == 2
    assert any("measured by the newest staging of tiny" in line for line in lines(plan, "Staging"))


def test_storage_has_a_price_on_amazon_s3_only(desk):
    assert not any("a month" in line for line in lines(desk.plan(), "Staging"))
    desk.profile = replace(desk.profile, s3_endpoint=None)

    assert any("USD a month" in line for line in lines(desk.plan(), "Staging"))


def test_a_cluster_without_room_must_be_changed(desk):
    desk.world.cluster.free_memory_gib = 0.5

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert any("No room for the candidate" in line for line in lines(plan, "Room", "change"))


def test_what_two_releases_side_by_side_cost_counts_proof_and_watch(desk):
    desk.write(MODEL + "gates: {serving: {usd_per_hour: 6}}\nrollout: {watch_minutes: 20, drain_deadline_s: 60}\n")
    assert not any("Two releases" in line for line in lines(desk.plan(), "Room"))
    old = Release.of(parse_model(MODEL, "f"), "a" * 40)
    records = Records(desk.world.store)
    records.open(parse_model(MODEL, "f"), old, "found")
    records.set_live(old)

    (cost,) = [line for line in lines(desk.plan(), "Room") if "Two releases" in line]

    assert "31 minutes: 3.10 USD more" in cost  # 600 s to start, 60 s to drain, 20 minutes of watch; 6 USD an hour


def test_a_cluster_that_refuses_the_objects_is_seen(desk):
    def diff(objects, take_back=False):
        raise NotFound("There is no namespace genai.", "Apply it.")

    desk.world.cluster.diff = diff

    assert any("There is no namespace" in line for line in lines(desk.plan(), "Room", "change"))


class OneType(Aws):
    def reservations(self, terms):
        return []

    def vcpu_quota(self, family):
        return None

    def instance_types(self):
        return [InstanceType("g6e.xlarge", 4, 32, 1, "l40s", "amd64", 1.5)]


def test_prices_that_are_read_from_ec2_are_not_kept(desk):
    desk.aws = OneType()
    desk.profile = replace(desk.profile, name="eks")
    desk.write(MODEL + "gates: {serving: {usd_per_hour: 3}}\n")

    plan = desk.plan()  # the desk compares the bucket before and after

    assert figures(plan, "Room")["usd_per_hour_of_a_replica"] == 3


def test_a_release_in_quarantine_is_not_tried_again(desk):
    desk.record(Phase.REJECTED)

    plan = desk.plan()

    assert plan.outcome == "to change"
    assert any("too slow" in line for line in lines(plan, "Next tick", "change"))


def test_a_run_that_is_under_way_comes_first(desk):
    run = Run("12345678", "rollout_tiny", "STARTED", 1.0, None, "tiny", "abc", ())
    desk.runs = [run]
    assert any("rollout_tiny of abc (run 12345678) is under way" in line for line in lines(desk.plan(), "Next tick"))
    desk.profile, desk.runs = replace(desk.profile, max_rollouts=1), [replace(run, job="rollout_b", model="b")]

    assert any("GENAI_MAX_ROLLOUTS" in line for line in lines(desk.plan(), "Next tick"))


def test_a_suite_that_is_not_there_must_be_changed(desk):
    desk.write(MODEL + "gates: {agent: {suite: nothing}}\n")

    assert lines(desk.plan(), "Proof", "change")


def test_a_file_outside_the_folder_is_planned_by_its_path(desk, tmp_path):
    (tmp_path / "other.yml").write_text(MODEL.replace("name: tiny", "name: other"))
    (tmp_path / "tiny.yml").write_text(MODEL)

    plan, twin = desk.plan(str(tmp_path / "other.yml")), desk.plan(str(tmp_path / "tiny.yml"))

    assert (plan.model, plan.outcome) == ("other", "would go live")
    assert any("Nothing starts until the file is in" in line for line in lines(plan, "File", "hint"))
    assert any("defines tiny already" in line for line in lines(twin, "File", "hint"))


def test_a_wrong_file_is_found_by_its_name(desk):
    desk.write("name: bad\nsource: {}\n", "bad.yaml")

    assert desk.plan("bad").outcome == "to change"


@pytest.mark.parametrize("asked", ["nothing", "./nothing.yaml"])
def test_an_unknown_model_is_an_error_with_what_is_known(desk, asked):
    with pytest.raises(NotFound) as error:
        desk.plan(asked)

    assert "model" in error.value.remedy


def test_a_store_that_is_known_to_be_silent_is_not_asked(desk):
    desk.world.store.fail = lambda method, key: pytest.fail(f"{method} {key}")
    engines = read_only(
        Engines(desk.profile, desk.world.gateways()), StoreUnavailable("No service runs here.", "Start it.")
    )

    found = plan_model(
        look_at_file("tiny", desk.models, on_one_machine=True), engines, list, lambda name: None, lambda _: None
    )

    assert found.outcome == "not all known"


def test_a_model_without_an_agent_is_planned_with_what_applies_to_it(desk):
    desk.write("name: tiny\nsource: {hub: owner/tiny}\nagent: none\n")

    plan = desk.plan()

    assert plan.outcome == "would go live", desk.page
    assert "agent_report" not in figures(plan, "Proof")["checks"]
    assert figures(plan, "Proof")["not_applicable"]["agent_report.task_success"]
    assert any(line.startswith("Not applicable: agent_candidate.agent_answers") for line in lines(plan, "Proof"))
    assert not any(line.endswith("and an agent.") for line in lines(plan, "Room"))


def test_what_one_machine_cannot_do_is_reported_with_its_line(desk):
    scales = MODEL.replace("serving: {", "serving: {engine: ray, replicas: {max: 2}, ")
    assert scales != MODEL
    desk.write(scales)
    desk.publish()
    desk.plan()
    assert "adds no workers" not in desk.page

    desk.profile = replace(desk.profile, name="local")
    desk.plan()

    assert "serving.replicas.max: one machine adds no workers" in desk.page


def test_a_replica_that_several_pods_hold_is_planned_with_all_of_them(desk):
    several = "engine: ray, gpu: {count: 1}, replicas: {max: 4}"
    desk.write(
        MODEL.replace("serving: {", f"serving: {{{several}, ").replace("args: {", "args: {tensor-parallel-size: 4, ")
    )
    plan = desk.plan()

    (needed,) = [line for line in lines(plan, "Room") if line.startswith("A release needs")]
    assert needed.startswith("A release needs 1 to 4 × 4 pods × (1 nvidia.com/gpu")
    assert needed.endswith(", a Ray head, and an agent.")


def scaled(desk, **settings):
    desk.write(MODEL.replace("serving: {", "serving: {replicas: {min: 1, max: 4}, "))
    desk.profile = replace(desk.profile, **settings)
    return desk.plan()


def test_replicas_that_follow_the_load_are_planned_at_their_most(desk):
    plan = scaled(desk, prometheus_url="http://prometheus.monitoring.svc:9090")

    assert plan.outcome == "would go live", desk.page
    assert any(line.startswith("A release needs 1 to 4 × (") for line in lines(plan, "Room"))
    desk.world.cluster.free_memory_gib = 13
    assert any("16.25 needed, 13 free" in line for line in lines(desk.plan(), "Room", "change")), desk.page


def test_replicas_that_nothing_could_scale_are_reported_with_the_remedy(desk):
    desk.world.cluster.unknown_kinds = {"ScaledObject"}

    assert any(
        "Install KEDA" in line for line in lines(scaled(desk, prometheus_url="http://p.m.svc"), "Room", "change")
    )
    assert any("GENAI_PROMETHEUS_URL" in line for line in lines(scaled(desk, prometheus_url=None), "Room", "change"))


def test_one_machine_scales_plain_vllm_by_itself(desk):
    plan = scaled(desk, name="local", s3_endpoint=None)

    assert not lines(plan, "Room", "change"), desk.page


def compiled(desk):
    return [line for line in lines(desk.plan(), "Engine") if line.startswith("compile cache")]


def test_the_engine_starts_from_compiled_code_where_it_is_kept_and_else_the_plan_says_why_not(desk):
    (none,) = compiled(desk)
    assert none.startswith("compile cache: none, so the first start compiles")

    spec = parse_model(MODEL, "f")
    place = cache_place(spec.serving, Release.of(spec, desk.world.hub.refs["main"]), desk.profile)
    kept = CacheManifest(place.model, place.revision, place.key, "r1", sha256="d" * 64, size=24_000_000)
    desk.world.store.put(kept.archive_key, b"x")
    desk.world.store.put(place.manifest_key, kept.to_bytes())

    assert compiled(desk) == ["compile cache: found (24 MB, from r1). Pods start from it."]


def test_an_engine_that_compiles_nothing_has_no_line_about_it(desk):
    desk.write(MODEL.replace("args: {", "args: {enforce-eager: true, "))
    assert compiled(desk) == []

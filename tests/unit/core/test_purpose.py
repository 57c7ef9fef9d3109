"""What a model is for: what its file may say, what makes another release of it, and what it must prove."""

from dataclasses import replace

import pytest

from genai_pipeline.core.checks import CHECKS, REQUIRED_FOR_LIVE
from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.purpose import checks_of, not_asked
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import passed
from tests.fakes.model_texts import TOOLS

HEAD = "name: tiny\nsource: {hub: a/b}\n"
REVISION = "a" * 40
ON_RESERVED_GPUS = TOOLS.replace("{args", "{gpu: {reservation: optional}, args")
PARSER_ONLY = "serving: {args: {tool-call-parser: hermes}}\n"


def spec(text: str) -> ModelSpec:
    return parse_model(HEAD + text, "f")


def problems(text: str) -> list[str]:
    with pytest.raises(ModelFileError) as caught:
        spec(text)
    return [problem.removeprefix("f:") for problem in caught.value.problems]


def test_a_model_is_for_chat_with_an_agent_unless_its_file_says_otherwise():
    assert (spec(TOOLS).task, spec(TOOLS).has_agent) == (Task.CHAT, True)
    assert not spec("agent: none\n").has_agent
    assert [spec(f"task: {task}\n").has_agent for task in ("completion", "embed", "score")] == [False] * 3
    assert not spec("task: embed\nagent: none\n").has_agent


@pytest.mark.parametrize("text", [TOOLS, "agent: none\n", "task: embed\n", "task: score\nagent: none\n"])
def test_the_purpose_survives_a_record(text):
    one = spec(text)

    assert ModelSpec.model_validate(one.model_dump(mode="json", by_alias=True)) == one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("agent: no\n" + TOOLS, "3: agent: input should be 'none'"),
        ("agent: {max_token: 64}\n" + TOOLS, "3: agent.max_token: unknown field. Did you mean `max_tokens`?"),
        ("agent: {max_tokens: 1}\n" + TOOLS, "3: agent.max_tokens: input should be greater"),
        ("task: embedding\n", "3: task: input should be 'chat', 'completion', 'embed' or 'score'"),
        ("", "1: serving.args: the agent sends its tools"),
        (PARSER_ONLY, "3: serving.args: the agent sends its tools with every request"),
        (
            "serving:\n  args:\n    enable_auto_tool_choice: false\n",
            "5: serving.args.enable_auto_tool_choice: the agent",
        ),
        ("agent: none\ngates: {agent: {suite: weather}}\n", "4: gates.agent: `agent: none` means"),
        ("task: embed\ngates: {agent: {tool_calling_min: 1}}\n", "4: gates.agent: `task: embed` means"),
        ("task: score\nagent: {max_tokens: 64}\n", "4: agent: a model with `task: score` has no agent"),
        ("agent: none\nrefresh: {evaluation: '1 1 * * *'}\n", "4: refresh.evaluation: `agent: none` means"),
        (
            "task: embed\nserving: {args: {runner: generate}}\n",
            "4: serving.args.runner: `task: embed` needs the runner",
        ),
        ("task: embed\nserving: {args: {convert: classify}}\n", "4: serving.args.convert: classify gives scores"),
        ("agent: none\nserving: {args: {runner: pooling}}\n", "4: serving.args.runner: `task: chat` needs the runner"),
        ("agent: none\nserving: {args: {convert: embed}}\n", "4: serving.args.convert: embed makes a pooling model"),
        ("task: embed\nserving: {args: {reasoning-parser: qwen3}}\n", "4: serving.args.reasoning-parser: a model with"),
        ("task: completion\n" + PARSER_ONLY, "4: serving.args.tool-call-parser: a model with `task: completion`"),
        (
            "task: embed\ngates: {serving: {ttft_p95_ms: 100}}\n",
            "4: gates.serving.ttft_p95_ms: nothing is judged by it",
        ),
        ("task: score\ngates: {serving: {min_tokens_per_s: 9}}\n", "4: gates.serving.min_tokens_per_s: nothing is"),
        ("task: embed\ngates: {serving: {kv_cache_max: 0.5}}\n", "4: gates.serving.kv_cache_max: nothing is"),
        ("agent: none\ngates: {serving: {check_tokens: 512}}\n", "4: gates.serving.check_tokens: nothing is"),
        (
            "agent: none\ngates: {serving: {scale_out: true}}\n",
            "4: gates.serving.scale_out: the engine adds no replicas",
        ),
        (
            "agent: none\nserving: {engine: ray, replicas: {min: 2, max: 2}}\ngates: {serving: {scale_out: true}}\n",
            "5: gates.serving.scale_out: the engine adds no replicas",
        ),
        (
            "agent: none\nserving: {replicas: {max: 2, downscale_delay_s: 3601}}\n",
            "4: serving.replicas.downscale_delay_s: Kubernetes scales after 3600 s at the latest",
        ),
        (
            "agent: none\nserving: {replicas: {max: 2, upscale_delay_s: 4000}}\n",
            "4: serving.replicas.upscale_delay_s: Kubernetes scales after 3600 s at the latest",
        ),
    ],
)
def test_what_a_file_says_against_itself_is_refused_with_its_line(text, expected):
    assert any(problem.startswith(expected) for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    "text",
    [
        "agent: none\n" + TOOLS,
        "agent: none\nrefresh: {evaluation: 'off'}\n",
        "task: score\nserving: {args: {runner: pooling, convert: embed}}\n",
        "task: embed\nserving: {args: {enable-auto-tool-choice: false, runner: auto}}\n",
        "task: completion\ngates: {serving: {ttft_p95_ms: 100, latency_p95_ms: 900}}\n",
        "task: embed\ngates: {serving: {latency_p95_ms: 90, usd_per_million_tokens_max: 1}}\n",
        "serving: {args: {enable_auto_tool_choice: true, tool_call_parser: hermes}}\n",
        "agent: none\nserving: {engine: ray, replicas: {max: 2}}\ngates: {serving: {scale_out: true}}\n",
        "agent: none\nserving: {replicas: {max: 2, downscale_delay_s: 3600}}\ngates: {serving: {scale_out: true}}\n",
        "agent: none\nserving: {engine: ray, replicas: {max: 2, downscale_delay_s: 7200}}\n",
        "agent: none\nserving: {replicas: {downscale_delay_s: 7200}}\n",
    ],
)
def test_what_fits_together_is_taken(text):
    assert spec(text).name == "tiny"


def test_a_change_of_the_purpose_is_another_release():
    texts = (TOOLS, "agent: none\n" + TOOLS, "task: completion\n", "task: embed\n", "task: score\n")

    assert len({Release.of(spec(text), REVISION).id for text in texts}) == len(texts)
    assert Release.of(spec("task: embed\nagent: none\n"), REVISION) == Release.of(spec("task: embed\n"), REVISION)
    assert Release.of(spec("agent: {max_tokens: 64}\n" + TOOLS), REVISION) == Release.of(spec(TOOLS), REVISION)


def test_a_file_of_today_takes_over_what_made_the_release():
    now, then = spec("agent: {max_tokens: 64}\n" + TOOLS), spec("agent: none\n")

    assert Release.of(now.as_released(then), REVISION) == Release.of(then, REVISION)
    assert Release.of(then.as_released(now), REVISION) == Release.of(now, REVISION)
    assert now.as_released(spec(TOOLS)).agent == now.agent
    assert now.as_released(spec("task: embed\n")).task is Task.EMBED


def test_only_what_applies_is_asked_and_the_rest_has_a_reason():
    gated = "gates: {agent: {tool_calling_min: 0.9}}\n"
    whole, plain = checks_of(spec(gated + ON_RESERVED_GPUS)), checks_of(spec("agent: none\n"))

    assert whole == CHECKS
    assert CHECKS["agent_report"].keys() - checks_of(spec(TOOLS))["agent_report"] == {"tool_calling"}
    assert "tool_call_parsed" not in plain["candidate"]
    assert "gpu_health" not in plain["serving_report"]
    assert "reservation_active" not in plain["capacity"]
    assert "gpu_health" in checks_of(spec("agent: none\nserving: {gpu: {}}\n"))["serving_report"]
    assert (
        "gpu_health" not in checks_of(spec("task: embed\nserving: {gpu: {resource: amd.com/gpu}}\n"))["serving_report"]
    )
    assert not {"agent_candidate", "agent_report"} & set(plain)
    assert "tool_call_parsed" in checks_of(spec("agent: none\n" + TOOLS))["candidate"]
    assert {"ttft_p95", "tokens_per_second"} <= set(checks_of(spec("task: completion\n"))["serving_report"])
    assert not {"ttft_p95", "tokens_per_second", "kv_cache"} & set(checks_of(spec("task: embed\n"))["serving_report"])
    assert all(not_asked(spec("task: embed\n")).values())


def record(text: str, **changes) -> Record:
    """One whose checks are passed, as far as they apply."""
    of = spec(text)
    verdicts = {f"{asset}.{name}": passed(name, "fine") for asset, names in checks_of(of).items() for name in names}
    made = Record("tiny", Release.of(of, REVISION).id, REVISION, of.model_dump(mode="json"), verdicts=verdicts)
    return replace(made, **changes)


@pytest.mark.parametrize(
    "text", [TOOLS, ON_RESERVED_GPUS, "agent: none\n", "task: completion\n", "task: embed\n", "task: score\n"]
)
def test_a_release_may_go_live_with_what_applies_and_not_without_any_of_it(text):
    proven = record(text)

    assert proven.may_go_live
    for name in proven.required:
        less = {key: verdict for key, verdict in proven.verdicts.items() if key != name}
        assert replace(proven, verdicts=less).missing == (name,)
    assert set(proven.required).isdisjoint(proven.not_applicable)
    assert set(proven.required) | set(proven.not_applicable) == set(REQUIRED_FOR_LIVE)


@pytest.mark.parametrize(
    "forged",
    [
        spec("agent: none\n").model_dump(mode="json"),
        spec("task: embed\n").model_dump(mode="json"),
        spec(TOOLS).model_dump(mode="json") | {"task": "dream"},
        {},
    ],
)
def test_a_spec_that_did_not_make_the_release_excuses_from_nothing(forged):
    honest = record(TOOLS)
    plain = record("agent: none\n")
    mixed = replace(honest, spec=forged, verdicts=plain.verdicts)

    assert "agent_report.task_success" in mixed.missing
    assert "candidate.tool_call_parsed" in mixed.missing

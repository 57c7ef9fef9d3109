import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from genai_pipeline.cli.manifests import as_yaml, rbac_objects, rendered, write_objects
from genai_pipeline.core.errors import NotFound, Refused, RevisionNotFound
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import OPTIONAL_KINDS
from genai_pipeline.local.hub import publish as publishing
from genai_pipeline.local.hub.publish import publish
from tests.fakes.world import EKS, PROFILE

SPEC = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "owner/model"}})
OTHER = ModelSpec.model_validate({"name": "other", "source": {"hub": "else/where"}})


@pytest.fixture
def profile(tmp_path, monkeypatch):
    folder = tmp_path / "hub" / "owner" / "model"
    for revision in ("v1", "v2"):
        (folder / revision).mkdir(parents=True)
        (folder / revision / "config.json").write_text(f'"{revision}"')
    (folder / "repo.yaml").write_text(
        "license: mit\nrefs: {main: v1}\nrevisions: {v1: {title: one}, v2: {title: two}}\n"
    )
    monkeypatch.setattr(publishing, "HUB_FOLDER", tmp_path / "hub")
    return Profile.load({"GENAI_HOME": str(tmp_path / "home")})


def test_publishing_names_the_commit_and_what_will_happen(profile):
    lines = publish(profile, [SPEC, OTHER], "v2")

    assert lines[0].startswith("Published owner/model@main = v2 (")
    assert "starts to roll out" in lines[1]


def test_publishing_twice_is_publishing_once(profile):
    publish(profile, [SPEC], "v2")

    (line,) = publish(profile, [SPEC], "v2")

    assert line.endswith("Nothing changes.")


def test_an_unknown_revision_is_refused_with_the_known_ones(profile):
    with pytest.raises(RevisionNotFound, match="v1, v2"):
        publish(profile, [SPEC], "v7")


def test_a_model_from_elsewhere_cannot_be_published(profile):
    with pytest.raises(NotFound, match="owner/model"):
        publish(profile, [OTHER], "v2")


def test_with_two_models_of_one_hub_one_must_be_chosen(profile):
    with pytest.raises(Refused, match="--model"):
        publish(profile, [SPEC, SPEC.model_copy(update={"name": "second"})], "v2")


LEFT_OUT = ("karpenter", "prometheus-operator")


def folders(revision="a" * 40, profile=PROFILE):
    return rendered([(SPEC, Release.of(SPEC, revision)), (OTHER, Release.of(OTHER, revision))], profile)


def every_object(rendered_folders):
    return [o for _, objects in rendered_folders for o in objects]


def by_name(objects):
    return sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"]))


def test_rendered_objects_are_those_of_the_release_and_hold_no_secret():
    release = Release.of(SPEC, "a" * 40)

    objects = list(yaml.safe_load_all(as_yaml(every_object(folders(profile=EKS)))))

    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    assert {("Deployment", f"tiny-{release.id}"), ("Deployment", f"tiny-agent-{release.id}")} <= names
    assert {("Service", "tiny"), ("Service", "tiny-agent"), ("PodDisruptionBudget", "tiny")} <= names
    assert {
        ("Namespace", "genai"),
        ("NodePool", "gpu"),
        ("PodMonitor", "genai-engine"),
        ("Service", "chat-ui"),
    } <= names
    assert "Secret" not in {kind for kind, _ in names}


def test_rendering_into_a_folder_writes_one_file_per_object(tmp_path):
    objects = every_object(folders())

    files = write_objects(folders(), tmp_path)

    written = [yaml.safe_load(file.read_text()) for file in files if file.name != "kustomization.yaml"]
    assert len(set(files)) == len(files)
    assert by_name(written) == by_name(objects)
    assert files[-1] == tmp_path / "kustomization.yaml"


def test_kinds_that_a_cluster_may_lack_are_applied_by_themselves(tmp_path):
    write_objects(folders(profile=EKS), tmp_path)

    def listed(folder):
        return yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]

    apart = {name: {file.split("-")[0] for file in listed(tmp_path / "platform" / name)} for name in LEFT_OUT}
    assert apart == {"karpenter": {"nodepool"}, "prometheus-operator": {"podmonitor"}}
    kinds = {Path(file).name.split("-")[0] for file in listed(tmp_path)}
    assert kinds.isdisjoint(kind.lower() for kind in OPTIONAL_KINDS)


def test_pools_of_another_profile_do_not_linger(tmp_path):
    write_objects(folders(profile=EKS), tmp_path)

    after = write_objects(folders(), tmp_path)

    assert {file for file in tmp_path.rglob("*") if file.is_file()} == set(after)
    assert not (tmp_path / "platform" / "karpenter").exists()


def test_rendering_twice_writes_the_same_bytes(tmp_path):
    first = {file: file.read_bytes() for file in write_objects(folders(), tmp_path)}

    again = {file: file.read_bytes() for file in write_objects(folders(), tmp_path)}

    assert again == first


def test_the_release_of_an_earlier_render_does_not_linger(tmp_path):
    before = set(write_objects(folders("a" * 40), tmp_path))
    (tmp_path / "tiny" / "mine.yaml").write_text("a: file of somebody else\n")

    after = set(write_objects(folders("b" * 40), tmp_path))

    assert before - after
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == after | {tmp_path / "tiny" / "mine.yaml"}


def test_someone_elses_kustomization_is_left_alone(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [../mine]\n")

    with pytest.raises(Refused, match="was not written by `genai render`"):
        write_objects(folders(), tmp_path)

    assert (tmp_path / "kustomization.yaml").read_text() == "resources: [../mine]\n"
    assert not (tmp_path / "tiny").exists()


def kustomized(folder):
    # No kubeconfig, and so no cluster: it only builds.
    result = subprocess.run(
        ["kubectl", "kustomize", str(folder)],
        env=os.environ | {"KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
@pytest.mark.parametrize("build", [folders, lambda: rbac_objects(PROFILE)], ids=["models", "rbac"])
def test_kustomize_builds_exactly_what_was_rendered(tmp_path, build):
    write_objects(build(), tmp_path)
    apart = [folder for name in LEFT_OUT if (folder := tmp_path / "platform" / name).exists()]

    built = [o for folder in (tmp_path, *apart) for o in kustomized(folder)]

    assert by_name(built) == by_name(every_object(build()))


def test_the_account_of_the_pipeline_is_rendered_for_the_namespace_of_the_profile():
    profile = dataclasses.replace(PROFILE, namespace="elsewhere")

    objects = every_object(rbac_objects(profile))

    assert {o["kind"] for o in objects} == {
        "Namespace", "PriorityClass", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
    }  # fmt: skip
    assert {o["metadata"].get("namespace", "elsewhere") for o in objects} == {"elsewhere"}
    (binding,) = [o for o in objects if o["kind"] == "ClusterRoleBinding"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "genai-pipeline", "namespace": "elsewhere"}]

"""From a container to a command line and an environment."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import Refused
from genai_pipeline.local.cluster.container import (
    ConfigMissing,
    PodContext,
    command_and_environment,
    expand,
    program_of,
)
from genai_pipeline.local.cluster.images import UnknownImage, entrypoint, known_images, repository_of

OBJECTS = {
    ("ConfigMap", "settings"): {"data": {"colour": "red"}},
    ("PersistentVolumeClaim", "kept"): {"spec": {}},
    ("PersistentVolumeClaim", "bound"): {"spec": {"volumeName": "weights"}},
    ("Secret", "keys"): {"data": {"key": base64.b64encode(b"s3cret").decode()}},
}

NOTE = "metadata.annotations['x/note']"


def context(folder: Path, **spec: Any) -> PodContext:
    pod = {
        "metadata": {
            "name": "p",
            "namespace": "ns",
            "uid": "u",
            "labels": {"a": "b"},
            "annotations": {"x/note": "a note"},
        },
        "spec": spec,
        "status": {"podIP": "127.77.0.1"},
    }
    return PodContext(
        pod, folder, known_images({}), lambda k, n: OBJECTS.get((k, n)), lambda ns, name: f"<{ns}/{name}>"
    )


def command(folder: Path, container: dict[str, Any], **spec: Any) -> list[str]:
    return command_and_environment({"name": "c", "image": "x"} | container, context(folder, **spec))[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A ${A} $( A)", "$A ${A} $( A)"),
        ("$$$(A)", "$1"),
    ],
)
def test_variables_expand_as_in_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("a/b:1", "a/b"),
        ("registry:5000/a/b", "registry:5000/a/b"),
        ("r.io/a/b:v1@sha256:00", "r.io/a/b"),
        ("python", "python"),
    ],
)
def test_tag_and_digest_do_not_belong_to_the_repository(image: str, repository: str) -> None:
    assert repository_of(image) == repository


def test_an_image_is_known_from_whatever_registry() -> None:
    images = known_images({})

    assert entrypoint("docker.io/vllm/vllm-openai:v1", images)[:2] == [sys.executable, "-m"]
    with pytest.raises(UnknownImage, match="vllm/vllm-openai"):
        entrypoint("notvllm/vllm-openai-x", images)


def test_more_images_come_from_the_environment_and_garbage_there_is_refused() -> None:
    assert entrypoint("t/e:1", known_images({"GENAI_LOCAL_IMAGES": '{"t/e": ["python", "e.py"]}'})) == [
        sys.executable,
        "e.py",
    ]
    for garbage in ("[1]", "{", '{"a": 1}'):
        with pytest.raises(Refused, match="GENAI_LOCAL_IMAGES"):
            known_images({"GENAI_LOCAL_IMAGES": garbage})


def test_a_command_takes_the_place_of_the_images_own(tmp_path: Path) -> None:
    assert command(tmp_path, {"command": ["python3", "-m", "x"], "args": ["y"]}) == [sys.executable, "-m", "x", "y"]
    agent = command(tmp_path, {"image": "genai-pipeline/strands-agent:1", "args": ["--port"]})
    assert agent == [sys.executable, "-m", "genai_pipeline.agent", "--port"]


def test_names_of_services_become_addresses(tmp_path: Path) -> None:
    words = ["x", "http://m.genai.svc.cluster.local:8000/v1", "http://m.genai.svc/", "file.svc", "a.b.svcs"]

    assert command(tmp_path, {"command": words})[1:] == ["http://<genai/m>:8000/v1", "http://<genai/m>/", *words[3:]]


def test_mount_paths_become_where_the_volume_is(tmp_path: Path) -> None:
    volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "sub", "emptyDir": {}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp/"}, {"name": "sub", "mountPath": "/tmp/sub", "subPath": "x"}]
    words = ["/tmp/a", "--dir=/tmp", "/tmp/sub/b", "/tmpfile", "/var/tmp", "http://h/tmp"]

    got = command(tmp_path, {"command": ["x", *words], "volumeMounts": mounts}, volumes=volumes)

    tmp, sub = tmp_path / "volumes/tmp", tmp_path / "volumes/sub/x"
    assert got[1:] == [f"{tmp}/a", f"--dir={tmp}", f"{sub}/b", *words[3:]]


def test_this_machines_own_interpreter_is_no_mount_path(tmp_path: Path) -> None:
    folder = str(Path(sys.executable).parent)
    mounts = [{"name": "v", "mountPath": folder}]

    got = command(
        tmp_path,
        {"image": "vllm/vllm-openai:1", "args": [f"{folder}/a"], "volumeMounts": mounts},
        volumes=[{"name": "v", "emptyDir": {}}],
    )

    assert got[0] == sys.executable
    assert got[-1] == f"{tmp_path / 'volumes/v'}/a"


def test_volumes_of_config_maps_secrets_and_fields_are_files_for_their_owner_only(tmp_path: Path) -> None:
    volumes = [
        {"name": "cm", "configMap": {"name": "settings", "items": [{"key": "colour", "path": "d/c"}]}},
        {"name": "my-keys", "secret": {"secretName": "keys"}},
        {"name": "fields", "downwardAPI": {"items": [{"path": "n.txt", "fieldRef": {"fieldPath": NOTE}}]}},
    ]
    _, environment = command_and_environment(
        {"name": "c", "image": "x", "command": ["x"]}, context(tmp_path, volumes=volumes)
    )

    assert (Path(environment["GENAI_VOLUME_CM"]) / "d/c").read_text() == "red"
    key = Path(environment["GENAI_VOLUME_MY_KEYS"]) / "key"
    assert (key.read_text(), key.stat().st_mode & 0o077) == ("s3cret", 0)
    assert (Path(environment["GENAI_VOLUME_FIELDS"]) / "n.txt").read_text() == "a note"


@pytest.mark.parametrize(
    "container",
    [
        {"envFrom": [{"configMapRef": {"name": "none"}}]},
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none"}}}]},
    ],
)
def test_a_missing_source_is_an_error_unless_it_is_optional(tmp_path: Path, container: dict[str, Any]) -> None:
    with pytest.raises(ConfigMissing, match="none"):
        command(tmp_path, container | {"command": ["x"]})

    for entry in [*container.get("envFrom", []), *(e["valueFrom"] for e in container.get("env", []))]:
        next(iter(entry.values()))["optional"] = True
    assert command(tmp_path, container | {"command": ["x"]}) == ["x"]


def test_the_program_leaves_restarts_to_the_cluster_and_honours_the_grace_period(tmp_path: Path) -> None:
    container = {"name": "c", "image": "x", "command": ["x"]}
    program = program_of(container, context(tmp_path, terminationGracePeriodSeconds=7))

    assert (program.name, program.autorestart, program.start_s, program.stop_wait_s) == ("pod.ns.p.c", False, 0, 7)


def test_a_claims_folder_is_beside_the_pods_and_the_same_for_the_next_one(tmp_path: Path) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "kept"}}]
    mounted = {"command": ["x", "/data/f"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    pods = [tmp_path / "pods" / name for name in ("ns.a", "ns.b")]

    paths = {command(pod, mounted, volumes=volumes)[1] for pod in pods}

    assert paths == {str(tmp_path / "volumes" / "ns.kept" / "f")}
    assert (tmp_path / "volumes" / "ns.kept").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("claim", "why"), [("gone", "gone does not exist"), ("bound", "names a volume")])
def test_a_claim_that_this_machine_has_no_volume_for_is_missing(tmp_path: Path, claim: str, why: str) -> None:
    with pytest.raises(ConfigMissing, match=why):
        command(tmp_path / "ns.a", {}, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": claim}}])

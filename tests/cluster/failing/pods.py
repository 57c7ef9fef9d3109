"""Cases whose containers really run, or really cannot."""

from __future__ import annotations

from typing import Any

from tests.cluster.failing.cases import Case
from tests.cluster.failing.engine_logs import FATAL, PASSING

ECHO = "test/echo:1"


NEVER_READY = {"readinessProbe": {"exec": {"command": ["/bin/false"]}, "periodSeconds": 5}}
"""Without one a container that crashes counts as ready between its crashes."""


def pod(command: str = "exec sleep 600", *, image: str = ECHO, pull: str = "IfNotPresent", **container: Any) -> Any:
    one = {"name": "engine", "image": image, "imagePullPolicy": pull, "command": ["/bin/sh", "-c", command]}
    return {"terminationGracePeriodSeconds": 1, "containers": [one | container]}


def crashing(text: str) -> Any:
    return pod('printf "%s\\n" "$LAST_WORDS" >&2; exit 1', env=[{"name": "LAST_WORDS", "value": text}], **NEVER_READY)


def failing_probe(kind: str, **settings: Any) -> Any:
    probe = {"exec": {"command": ["/bin/sh", "-c", "echo engine says 503; exit 1"]}, "periodSeconds": 1}
    return pod(**{f"{kind}Probe": probe | settings})


def with_volume(**volume: Any) -> Any:
    return pod(volumeMounts=[{"name": "given", "mountPath": "/given"}]) | {"volumes": [{"name": "given", **volume}]}


def asking(**resources: str) -> Any:
    asked = {key.replace("gpu", "nvidia.com/gpu"): value for key, value in resources.items()}
    return pod(resources={"requests": asked, "limits": asked})


def on_a_real_node(registry: str) -> list[Case]:
    """Args: registry: host and port of one that answers 404, 403 or 503 by the image's name."""
    fatal = [Case(f"log-{n}", crashing(text), says) for n, (text, *rest) in FATAL.items() for says in [tuple(rest)]]
    passing = [Case(f"log-{n}", crashing(text), tuple(rest), ends=None) for n, (text, *rest) in PASSING.items()]
    return [*fatal, *passing, *_images(registry), *_configurations(), *_starts(), *_probes(), *_nodes()]


def _images(registry: str) -> list[Case]:
    return [
        Case("image-missing", pod(image=f"{registry}/missing:1"), ("The registry has no image", "serving.image")),
        Case("image-denied", pod(image=f"{registry}/denied:1"), ("registry denies the image", "imagePullSecret")),
        Case("image-down", pod(image=f"{registry}/down:1"), ("does not answer", "Check the registry"), ends=False),
        Case("image-never", pod(image="test/none:1", pull="Never"), ("pull policy is Never", "Load it onto the node")),
        Case("image-name", pod(image="Not A Name"), ("not a valid image name", "serving.image")),
    ]


def _configurations() -> list[Case]:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "half"}, "stringData": {"other": "x"}}
    key = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "half", "key": "token"}}}
    return [
        Case("secret", pod(envFrom=[{"secretRef": {"name": "gone"}}]), ("The Secret gone is missing", "Apply Secret")),
        Case("configmap", pod(envFrom=[{"configMapRef": {"name": "gone"}}]), ("The ConfigMap gone is missing",)),
        Case("secret-key", pod(env=[key]), ("The Secret half has no key token", "Add the key"), beside=(secret,)),
        Case("root", pod(securityContext={"runAsNonRoot": True}), ("would run as root", "runAsUser")),
        Case("mount", with_volume(secret={"secretName": "gone"}), ("volume given cannot be mounted", "Secret gone")),
        Case(
            "claim",
            with_volume(persistentVolumeClaim={"claimName": "gone"}),
            ("PersistentVolumeClaim gone does not exist", "Apply the claim"),
        ),
    ]


def _starts() -> list[Case]:
    hungry = pod(command="", resources={"limits": {"memory": "48Mi"}}, **NEVER_READY)
    hungry["containers"][0]["command"] = ["/usr/bin/tail", "/dev/zero"]
    nowhere = pod()
    nowhere["containers"][0]["command"] = ["/bin/nope"]
    return [
        Case("memory", hungry, ("OOMKilled", "serving.resources.memory_gib"), ends=None),
        Case("command", nowhere, ("command /bin/nope cannot be started", "Correct the container's `command`")),
    ]


def _probes() -> list[Case]:
    slow = pod(readinessProbe={"exec": {"command": ["/bin/true"]}, "initialDelaySeconds": 4, "periodSeconds": 1})
    hanging = failing_probe("liveness", failureThreshold=1)
    hanging["containers"][0] |= NEVER_READY
    return [
        Case("startup", failing_probe("startup", failureThreshold=900), ("startup probe fails", "503"), ends=False),
        Case("readiness", failing_probe("readiness"), ("readiness probe fails", "engine says 503"), ends=False),
        Case("liveness", hanging, ("liveness probe fails", "makes it hang"), ends=None),
        Case("slow", slow),
    ]


def _nodes() -> list[Case]:
    elsewhere = asking(gpu="1") | {"nodeSelector": {"nvidia.com/gpu.product": "H100"}}
    lost = pod() | {"nodeSelector": {"eks.amazonaws.com/instance-family": "g6e"}}
    return [
        Case("cpu", asking(cpu="1000"), ("insufficient cpu (1000 asked)", "serving.resources.cpu"), ends=False),
        Case("ram", asking(memory="9Ti"), ("insufficient memory", "serving.resources.memory_gib"), ends=False),
        Case("gpu", asking(gpu="1"), ("insufficient nvidia.com/gpu", "serving.gpu.count"), ends=False),
        Case("family", lost, ("eks.amazonaws.com/instance-family: g6e", "serving.gpu.instance-family"), ends=False),
        Case("selector", elsewhere, ("nvidia.com/gpu.product: H100", "serving.gpu.selector"), ends=False),
    ]

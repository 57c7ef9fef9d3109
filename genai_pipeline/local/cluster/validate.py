"""What this cluster refuses, by field, and what would be right. Pure.

kubernetes-validate knows the form of every built-in kind. Checked here are the values that the form leaves open and
that this cluster relies on, and what Kubernetes accepts but one machine cannot do: to accept that would mislead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from genai_pipeline.gateways.cluster.kinds import CLUSTER_SCOPED
from genai_pipeline.local.cluster.autoscaling import scaling_of
from genai_pipeline.local.cluster.objects import selector_matches
from genai_pipeline.local.cluster.ray_pods import serve_config

KUBERNETES = "1.34"
KIND = re.compile(r"^[A-Z][A-Za-z0-9]*$")
LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
SUBDOMAIN = re.compile(r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
COUNT_OR_PERCENTAGE = re.compile(r"^\d+%?$")
VOLUMES = ("emptyDir", "configMap", "secret", "downwardAPI", "hostPath", "persistentVolumeClaim")
PROBES = ("httpGet", "tcpSocket", "exec")
HOOKS = ("exec", "sleep", "httpGet")
VARIABLES = ("configMapKeyRef", "secretKeyRef", "fieldRef")
FIELDS = re.compile(
    r"^(metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|status\.(podIP|hostIP)"
    r"|spec\.(nodeName|serviceAccountName))$"
)

_RAY = "spec.rayClusterConfig"

Problems = Iterator[str]


def problems(manifest: Any) -> list[str]:
    """Return every mistake as `field: what is wrong. What to do.`, or an empty list where the manifest is fine."""
    if not isinstance(manifest, Mapping):
        return ["manifest: not a mapping. Write one Kubernetes object per document."]
    return list(_form(manifest)) or [*_metadata(manifest), *_VALUES.get(manifest["kind"], _nothing)(manifest)]


def _form(obj: Mapping[str, Any]) -> Problems:
    if not isinstance(obj.get("apiVersion"), str) or not obj["apiVersion"]:
        yield "apiVersion: missing. Every Kubernetes object names it."
    elif not isinstance(obj.get("kind"), str) or not KIND.match(obj["kind"]):
        yield "kind: missing or not a name. Every Kubernetes object names it."
    elif not isinstance(obj.get("metadata"), Mapping):
        yield "metadata: missing. Give it a `name`."
    else:
        yield from _schema(obj)


def _schema(obj: Mapping[str, Any]) -> Problems:
    import kubernetes_validate  # slow to import, and a daemon that only takes pods over does not need it

    try:
        kubernetes_validate.validate(dict(obj), KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:  # a custom kind
        return
    except kubernetes_validate.ValidationError as error:
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        # The validator's message shows the value, which of a Secret must not be shown.
        wrong = "has another form" if obj["kind"] == "Secret" else error.message
        yield f"{path.lstrip('.') or 'manifest'}: {wrong}. See the API reference of {obj['kind']}."


def _metadata(obj: Mapping[str, Any]) -> Problems:
    kind, meta = obj["kind"], obj["metadata"]
    form, most = (LABEL, 63) if kind in ("Service", "Namespace") else (SUBDOMAIN, 253)
    if not form.match(str(meta.get("name") or "")):
        name = f"{meta['name']!r} is not a name" if meta.get("name") else "missing"
        dots = "" if form is LABEL else ", dots"
        yield f"metadata.name: {name}. Use lower case letters, digits{dots} and `-`, at most {most}."
    namespace = meta.get("namespace")
    if namespace is not None and kind in CLUSTER_SCOPED:
        yield f"metadata.namespace: a {kind} belongs to no namespace. Leave it out."
    elif namespace is not None and not LABEL.match(str(namespace)):
        yield f"metadata.namespace: {namespace!r} is not a name. Use lower case letters, digits and `-`."


def _nothing(_: Mapping[str, Any]) -> Problems:
    return iter(())


def _pod(_: Mapping[str, Any]) -> Problems:
    yield "kind: this cluster runs no Pod without an owner. Apply a Deployment."


def _service(obj: Mapping[str, Any]) -> Problems:
    spec = obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        yield "spec.type: ExternalName needs DNS, which this cluster does not have. Use the address itself."
    elif not spec.get("ports"):
        yield "spec.ports: missing. Name at least one port."
    for index, port in enumerate(spec.get("ports") or []):
        if not 1 <= port["port"] <= 65535:
            yield f"spec.ports[{index}].port: {port['port']} is not a port. Use 1 to 65535."


def _deployment(obj: Mapping[str, Any]) -> Problems:
    spec = obj.get("spec")
    if not spec or not spec["template"].get("spec"):
        yield "spec: incomplete. A Deployment needs `selector` and `template` with its own `spec`."
        return
    if (spec.get("replicas") or 0) < 0:
        yield f"spec.replicas: {spec['replicas']} is not a count. Use 0 or more."
    selector, labels = spec["selector"], (spec["template"].get("metadata") or {}).get("labels") or {}
    if not (selector.get("matchLabels") or selector.get("matchExpressions")):
        yield "spec.selector: empty. Give it the `matchLabels` of the template."
    elif not selector_matches(selector, labels):
        yield "spec.selector: does not match spec.template.metadata.labels. Make them agree."
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    for field, value in rolling.items():
        if not COUNT_OR_PERCENTAGE.match(str(value)):
            yield f"spec.strategy.rollingUpdate.{field}: {value!r} is not a count or a percentage."
    yield from _pod_spec("spec.template.spec", spec["template"]["spec"])


def _ray_service(obj: Mapping[str, Any]) -> Problems:
    spec = obj.get("spec") or {}
    cluster = spec.get("rayClusterConfig")
    if not cluster or not (cluster.get("headGroupSpec") or {}).get("template"):
        yield "spec.rayClusterConfig: incomplete. A RayService needs `headGroupSpec` with a `template`."
        return
    if (spec.get("upgradeStrategy") or {}).get("type") != "None":
        yield "spec.upgradeStrategy.type: one machine replaces no Ray cluster by another. Use `None`."
    if not spec.get("excludeHeadPodFromServeSvc"):
        yield "spec.excludeHeadPodFromServeSvc: here a head serves nothing. Set it to true."
    if cluster.get("enableInTreeAutoscaling"):
        yield f"{_RAY}.enableInTreeAutoscaling: one machine adds no workers. Set replicas.min to replicas.max."
    if cluster.get("gcsFaultToleranceOptions"):
        yield f"{_RAY}.gcsFaultToleranceOptions: one machine keeps no head alive by Redis. Leave it out."
    try:
        serve_config(obj)
    except (yaml.YAMLError, ValueError):
        yield "spec.serveConfigV2: not a YAML mapping. See Ray Serve's config file."
    containers = cluster["headGroupSpec"]["template"].get("spec", {}).get("containers") or [{}]
    if "serve" not in [port.get("name") for port in containers[0].get("ports") or []]:
        yield f"{_RAY}.headGroupSpec: its container has no port `serve`, for which KubeRay makes a Service. Add it."
    yield from _ray_group(f"{_RAY}.headGroupSpec", cluster["headGroupSpec"])
    for index, group in enumerate(cluster.get("workerGroupSpecs") or []):
        yield from _ray_group(f"{_RAY}.workerGroupSpecs[{index}]", group)


def _scaled_object(obj: Mapping[str, Any]) -> Problems:
    spec = obj.get("spec") or {}
    if not (spec.get("scaleTargetRef") or {}).get("name"):
        yield "spec.scaleTargetRef.name: missing. Name the Deployment."
    try:
        scaling_of(dict(obj))
    except (KeyError, ValueError, TypeError):
        yield (
            "spec.triggers: one machine reads the engines' own figures. Use one trigger of the type `prometheus` with "
            "a `threshold`, and no metricType but AverageValue."
        )


def _ray_group(path: str, group: Mapping[str, Any]) -> Problems:
    spec = (group.get("template") or {}).get("spec") or {}
    yield from _pod_spec(f"{path}.template.spec", spec)
    for index, container in enumerate(spec.get("containers") or []):
        if any("gpu" in name for name in (container.get("resources") or {}).get("limits") or {}):
            where = f"{path}.template.spec.containers[{index}].resources.limits"
            yield f"{where}: each Ray cluster of one machine would take the same GPU. Use `engine: vllm` for a GPU."


def _pod_spec(path: str, spec: Mapping[str, Any]) -> Problems:
    for index, volume in enumerate(spec.get("volumes") or []):
        yield from _one_of(f"{path}.volumes[{index}]", volume, VOLUMES)
    if not spec.get("containers"):
        yield f"{path}.containers: missing. A pod needs at least one."
    first = spec.get("initContainers") or []
    names = [container["name"] for container in [*first, *(spec.get("containers") or [])]]
    if len(set(names)) < len(names):
        yield f"{path}.containers: two have one name. Each needs its own."
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for index, container in enumerate(first):
        yield from _init_container(f"{path}.initContainers[{index}]", container)
        yield from _container(f"{path}.initContainers[{index}]", container, volumes)
    for index, container in enumerate(spec.get("containers") or []):
        yield from _container(f"{path}.containers[{index}]", container, volumes)


def _init_container(path: str, container: Mapping[str, Any]) -> Problems:
    if container.get("restartPolicy") is not None:
        yield f"{path}.restartPolicy: one machine runs no sidecars. Make it one of `containers`."
    for field in ("lifecycle", "startupProbe", "readinessProbe", "livenessProbe"):
        if container.get(field) is not None:
            yield f"{path}.{field}: Kubernetes allows it only for containers that go on running. Leave it out."


def _container(path: str, container: Mapping[str, Any], volumes: set[str]) -> Problems:
    if not LABEL.match(container["name"]):
        yield f"{path}.name: {container['name']!r} is not a name. Use lower case letters, digits and `-`."
    if not (container.get("image") or "").strip():
        yield f"{path}.image: missing. Name the image."
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount["name"] not in volumes:
            yield f"{path}.volumeMounts[{index}].name: there is no volume {mount['name']!r}. Add it to `volumes`."
    for index, variable in enumerate(container.get("env") or []):
        if variable.get("valueFrom"):
            yield from _source(f"{path}.env[{index}].valueFrom", variable["valueFrom"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if container.get(probe):
            yield from _one_of(f"{path}.{probe}", container[probe], PROBES)
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.get("postStart") is not None:
        yield f"{path}.lifecycle.postStart: one machine does not run it. Do that work in the container's command."
    if lifecycle.get("preStop") is not None:
        yield from _one_of(f"{path}.lifecycle.preStop", lifecycle["preStop"], HOOKS)


def _source(path: str, source: Mapping[str, Any]) -> Problems:
    yield from _one_of(path, source, VARIABLES)
    field = (source.get("fieldRef") or {}).get("fieldPath", "metadata.name")
    if not FIELDS.match(field):
        yield f"{path}.fieldRef: {field!r} is not known here."


def _one_of(path: str, given: Mapping[str, Any], known: Iterable[str]) -> Problems:
    if not any(given.get(name) is not None for name in known):
        yield f"{path}: one machine has nothing for it. Use one of {', '.join(known)}."


_VALUES = {
    "Deployment": _deployment,
    "Pod": _pod,
    "RayService": _ray_service,
    "ScaledObject": _scaled_object,
    "Service": _service,
}

"""What this cluster refuses, by field, and what would be right. Pure.

Two sorts: what Kubernetes refuses too, and what it accepts but one machine cannot honour, where going on
without a word would mislead (init containers, volumes from elsewhere).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genai_pipeline.gateways.cluster.local.objects import CLUSTER_SCOPED, selector_matches

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
SUBDOMAIN = re.compile(r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
VOLUMES = ("emptyDir", "configMap", "secret", "hostPath")
HANDLERS = ("httpGet", "tcpSocket", "exec")
FIELD_REFS = re.compile(
    r"^(metadata\.(name|namespace|uid|labels\['[^']+'\])|status\.(podIP|hostIP)|spec\.(nodeName|serviceAccountName))$"
)

Problems = Iterator[str]


def problems(manifest: Any) -> list[str]:
    """Every mistake in a manifest as `field: what is wrong. What to do.`; empty where it is fine."""
    if not isinstance(manifest, Mapping):
        return ["manifest: not a mapping. Write one Kubernetes object per document."]
    return list(_object(manifest))


def _object(obj: Mapping[str, Any]) -> Problems:
    for field in ("apiVersion", "kind"):
        if not isinstance(obj.get(field), str) or not obj[field]:
            yield f"{field}: missing. Every Kubernetes object names it."
    meta = obj.get("metadata")
    if not isinstance(meta, Mapping):
        yield "metadata: missing. Give it a `name`."
        return
    yield from _metadata(obj.get("kind"), meta)
    yield from _guarded(_KINDS.get(str(obj.get("kind")), _nothing), obj)


def _guarded(check: Any, obj: Mapping[str, Any]) -> Problems:
    """A wrong type somewhere deep is one more problem, not a traceback."""
    try:
        yield from check(obj)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        yield f"spec: not of the form that a {obj.get('kind')} has ({error!r}). See the Kubernetes API reference."


def _metadata(kind: Any, meta: Mapping[str, Any]) -> Problems:
    name = meta.get("name")
    form = LABEL if kind in ("Service", "Namespace") else SUBDOMAIN
    if not isinstance(name, str) or not form.match(name):
        what = "missing" if name in (None, "") else f"{name!r} is not a name"
        yield f"metadata.name: {what}. Use lower case letters, digits and `-`" + (
            ", at most 63." if form is LABEL else " or `.`, at most 253."
        )
    namespace = meta.get("namespace")
    if namespace is not None and (not isinstance(namespace, str) or not LABEL.match(namespace)):
        yield f"metadata.namespace: {namespace!r} is not a name. Use lower case letters, digits and `-`."
    if namespace is not None and kind in CLUSTER_SCOPED:
        yield f"metadata.namespace: a {kind} has none. Leave it out."
    yield from _labels("metadata.labels", meta.get("labels"))


def _labels(path: str, labels: Any) -> Problems:
    if labels is None:
        return
    if not isinstance(labels, Mapping):
        yield f"{path}: not a mapping. Write `name: value` pairs."
        return
    for key, value in labels.items():
        if not isinstance(value, str) or not LABEL_VALUE.match(value):
            yield f"{path}.{key}: {value!r} is not a label value. Use a string of at most 63 letters, digits, `-_.`."


def _nothing(_: Mapping[str, Any]) -> Problems:
    return iter(())


def _pod(_: Mapping[str, Any]) -> Problems:
    yield "kind: a Pod of its own is not run here. Apply a Deployment."


def _data(obj: Mapping[str, Any]) -> Problems:
    for field in ("data", "stringData"):
        for key, value in (obj.get(field) or {}).items():
            if not isinstance(value, str):
                yield f"{field}.{key}: {value!r} is not a string. Quote it."


def _service(obj: Mapping[str, Any]) -> Problems:
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        yield "spec: missing. A Service needs `ports`."
        return
    if spec.get("type") == "ExternalName":
        yield "spec.type: ExternalName needs DNS, which there is none of here. Use the address itself."
    ports = spec.get("ports") or []
    if not ports:
        yield "spec.ports: missing. Name at least one port."
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        yield from _port(f"{path}.port", port.get("port"))
        if "targetPort" in port and not isinstance(port["targetPort"], str):
            yield from _port(f"{path}.targetPort", port["targetPort"])
        if len(ports) > 1 and not port.get("name"):
            yield f"{path}.name: missing. Several ports need names."
    yield from _unique("spec.ports", "port", [p.get("port") for p in ports])
    yield from _labels("spec.selector", spec.get("selector"))


def _deployment(obj: Mapping[str, Any]) -> Problems:
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        yield "spec: missing. A Deployment needs `selector` and `template`."
        return
    yield from _count("spec.replicas", spec.get("replicas", 1))
    yield from _count("spec.progressDeadlineSeconds", spec.get("progressDeadlineSeconds", 600))
    yield from _count("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    yield from _strategy(spec.get("strategy") or {})
    template = spec.get("template")
    if not isinstance(template, Mapping) or not isinstance(template.get("spec"), Mapping):
        yield "spec.template: missing. It describes the pods."
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    yield from _labels("spec.template.metadata.labels", labels)
    selector = spec.get("selector")
    if not isinstance(selector, Mapping) or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        yield "spec.selector: missing. Give it the `matchLabels` of the template."
    elif not selector_matches(selector, labels):
        yield "spec.selector: does not match spec.template.metadata.labels. Make them agree."
    yield from _pod_spec("spec.template.spec", template["spec"])


def _strategy(strategy: Mapping[str, Any]) -> Problems:
    kind = strategy.get("type", "RollingUpdate")
    if kind not in ("RollingUpdate", "Recreate"):
        yield f"spec.strategy.type: {kind!r} is unknown. Use RollingUpdate or Recreate."
    rolling = strategy.get("rollingUpdate") or {}
    for field in ("maxSurge", "maxUnavailable"):
        value = rolling.get(field, 0)
        is_percent = isinstance(value, str) and re.fullmatch(r"\d+%", value)
        if not is_percent and (not isinstance(value, int) or value < 0):
            yield f"spec.strategy.rollingUpdate.{field}: {value!r} is not a count or a percentage."
    if {str(rolling.get(f, "25%")).rstrip("%") for f in ("maxSurge", "maxUnavailable")} == {"0"}:
        yield "spec.strategy.rollingUpdate: maxSurge and maxUnavailable are both 0. Allow one of them."


def _pod_spec(path: str, spec: Mapping[str, Any]) -> Problems:
    if spec.get("initContainers"):
        yield f"{path}.initContainers: not run on one machine. Do that work before the apply."
    if spec.get("restartPolicy", "Always") != "Always":
        yield f"{path}.restartPolicy: a Deployment's pods are restarted Always. Leave it out."
    yield from _count(f"{path}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds", 30))
    volumes = spec.get("volumes") or []
    for index, volume in enumerate(volumes):
        if not any(source in volume for source in VOLUMES):
            yield f"{path}.volumes[{index}]: of a sort that one machine has not. Use {', '.join(VOLUMES)}."
    yield from _unique(f"{path}.volumes", "name", [v.get("name") for v in volumes])
    containers = spec.get("containers") or []
    if not containers:
        yield f"{path}.containers: missing. A pod needs at least one."
    names = {v.get("name") for v in volumes}
    for index, container in enumerate(containers):
        yield from _container(f"{path}.containers[{index}]", container, names)
    yield from _unique(f"{path}.containers", "name", [c.get("name") for c in containers])


def _container(path: str, container: Mapping[str, Any], volumes: set[Any]) -> Problems:
    if not isinstance(container.get("name"), str) or not LABEL.match(container["name"]):
        yield f"{path}.name: {container.get('name')!r} is not a name. Use lower case letters, digits and `-`."
    if not isinstance(container.get("image"), str) or not container["image"].strip():
        yield f"{path}.image: missing. Name the image."
    for field in ("command", "args"):
        for index, word in enumerate(container.get(field) or []):
            if not isinstance(word, str):
                yield f"{path}.{field}[{index}]: {word!r} is not a string. Quote it."
    for index, port in enumerate(container.get("ports") or []):
        yield from _port(f"{path}.ports[{index}].containerPort", port.get("containerPort"))
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            yield f"{path}.volumeMounts[{index}].name: there is no volume {mount.get('name')!r}. Add it to `volumes`."
        if not str(mount.get("mountPath", "")).startswith("/"):
            yield f"{path}.volumeMounts[{index}].mountPath: not an absolute path."
    yield from _environment(path, container)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if container.get(probe):
            yield from _probe(f"{path}.{probe}", container[probe])
    yield from _lifecycle(f"{path}.lifecycle", container.get("lifecycle") or {})


def _environment(path: str, container: Mapping[str, Any]) -> Problems:
    for index, variable in enumerate(container.get("env") or []):
        field = f"{path}.env[{index}]"
        if not ENV_NAME.match(str(variable.get("name") or "")):
            yield f"{field}.name: {variable.get('name')!r} is not a variable's name."
        if not isinstance(variable.get("value", ""), str):
            yield f"{field}.value: {variable['value']!r} is not a string. Quote it."
        source = variable.get("valueFrom") or {}
        if source and not any(k in source for k in ("configMapKeyRef", "secretKeyRef", "fieldRef")):
            yield f"{field}.valueFrom: unknown source. Use configMapKeyRef, secretKeyRef or fieldRef."
        if "fieldRef" in source and not FIELD_REFS.match(str(source["fieldRef"].get("fieldPath"))):
            yield f"{field}.valueFrom.fieldRef: {source['fieldRef'].get('fieldPath')!r} is not known here."


def _lifecycle(path: str, lifecycle: Mapping[str, Any]) -> Problems:
    if lifecycle.get("postStart") is not None:
        yield f"{path}.postStart: not run on one machine. Do that work in the container's command."
    hook = lifecycle.get("preStop")
    if hook is not None and not any(kind in hook for kind in ("exec", "sleep", "httpGet")):
        yield f"{path}.preStop: unknown handler. Use exec, sleep or httpGet."


def _probe(path: str, probe: Mapping[str, Any]) -> Problems:
    handlers = [h for h in HANDLERS if h in probe]
    if len(handlers) != 1:
        yield f"{path}: needs exactly one of {', '.join(HANDLERS)}."
    for field in ("periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"):
        if not isinstance(probe.get(field, 1), int) or probe.get(field, 1) < 1:
            yield f"{path}.{field}: {probe[field]!r} is not a count of at least 1."
    yield from _count(f"{path}.initialDelaySeconds", probe.get("initialDelaySeconds", 0))


def _port(path: str, port: Any) -> Problems:
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        yield f"{path}: {port!r} is not a port. Use 1 to 65535."


def _count(path: str, value: Any) -> Problems:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        yield f"{path}: {value!r} is not a count. Use 0 or more."


def _unique(path: str, field: str, values: Sequence[Any]) -> Problems:
    for value in {v for v in values if values.count(v) > 1}:
        yield f"{path}: {field} {value!r} appears twice. Each needs its own."


_KINDS = {"ConfigMap": _data, "Deployment": _deployment, "Pod": _pod, "Secret": _data, "Service": _service}

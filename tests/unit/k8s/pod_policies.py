"""Policies about what a container is and may: images, resources, security."""

from __future__ import annotations

import re

from genai_pipeline.core.credentials import variable_is_secret
from tests.unit.k8s.everything import Object
from tests.unit.k8s.policies import Broken, containers, of_kind, pods, policy, strings

REFERENCES = re.compile(r"(none|\$\(\w+\))(;(none|\$\(\w+\)))*")
"""No key, or variables that come from Secrets."""

# -- images, resources


@policy
def images_name_a_version(objects: list[Object]) -> Broken:
    for name, container in containers(objects):
        _, _, last = container["image"].rpartition("/")
        tag = last.partition(":")[2]
        if "@sha256:" not in last and tag in ("", "latest"):
            yield f"{name}: image {container['image']} moves"


@policy
def memory_is_limited_and_asked_for(objects: list[Object]) -> Broken:
    for name, container in containers(objects):
        resources = container.get("resources", {})
        if "memory" not in resources.get("limits", {}):
            yield f"{name}: no memory limit"
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
            yield f"{name}: requests are missing"


@policy
def what_is_written_is_bounded(objects: list[Object]) -> Broken:
    claims = [o["metadata"]["name"] for _, o in of_kind(objects, "PersistentVolumeClaim")]
    for name, _, pod in pods(objects):
        for volume in pod.get("volumes", []):
            claim = volume.get("persistentVolumeClaim", {})
            only_read = volume.keys() & {"downwardAPI", "projected"} or claim.get("readOnly")
            sized = volume.get("emptyDir", {}).get("sizeLimit") or claim.get("claimName") in claims
            if not only_read and not sized:
                yield f"{name}: volume {volume['name']} is no emptyDir with a sizeLimit, and no claim of ours"


@policy
def caches_lie_where_it_can_be_written(objects: list[Object]) -> Broken:
    for name, container in containers(objects):
        writable = [m["mountPath"] for m in container.get("volumeMounts", [])]
        for variable in container.get("env", []):
            path = variable.get("value", "")
            if path.startswith("/") and not any(path == w or path.startswith(f"{w}/") for w in writable):
                yield f"{name}: {variable['name']}={path} cannot be written"


# -- security


@policy
def nothing_is_privileged(objects: list[Object]) -> Broken:
    for name, _, pod in pods(objects):
        shared = [f for f in ("hostNetwork", "hostPID", "hostIPC") if pod.get(f)]
        paths = [v["name"] for v in pod.get("volumes", []) if "hostPath" in v]
        if shared or paths:
            yield f"{name}: shares {', '.join(shared + paths)} with the node"
    for name, container in containers(objects):
        context = container.get("securityContext", {})
        if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: privileged, or may become it"


@policy
def every_capability_is_dropped(objects: list[Object]) -> Broken:
    for name, container in containers(objects):
        capabilities = container.get("securityContext", {}).get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{name}: keeps capabilities"


@policy
def nobody_is_root(objects: list[Object]) -> Broken:
    for name, _, pod in pods(objects):
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{name}: may run as root"
    for name, container in containers(objects):
        context = container.get("securityContext", {})
        if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
            yield f"{name}: runs as root"


@policy
def the_root_file_system_is_read_only(objects: list[Object]) -> Broken:
    for name, container in containers(objects):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{name}: may write to its image"


@policy
def system_calls_are_filtered(objects: list[Object]) -> Broken:
    for name, _, pod in pods(objects):
        if pod.get("securityContext", {}).get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: no seccomp profile"


@policy
def no_token_is_mounted(objects: list[Object]) -> Broken:
    for name, _, pod in pods(objects):
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name}: mounts a token"
    for name, account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name}: its pods mount a token"


@policy
def no_secret_stands_in_a_manifest(objects: list[Object]) -> Broken:
    for name, _ in of_kind(objects, "Secret"):
        yield f"{name}: is rendered"
    for name, container in containers(objects):
        for variable in container.get("env", []):
            if variable_is_secret(variable["name"], "") and not REFERENCES.fullmatch(variable.get("value", "none")):
                yield f"{name}: {variable['name']} has a value"
        for text in strings(container):
            if variable_is_secret("", text):
                yield f"{name}: holds a credential"


@policy
def roles_are_narrow(objects: list[Object]) -> Broken:
    for name, role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "*" in words:
                yield f"{name}: a wildcard"
            if {"escalate", "bind", "impersonate"} & set(rule["verbs"]):
                yield f"{name}: may become somebody else"
            if {"pods/exec", "pods/attach", "pods/ephemeralcontainers"} & set(rule["resources"]):
                yield f"{name}: may enter pods"
            if "secrets" in rule["resources"] and not rule.get("resourceNames"):
                yield f"{name}: reads or writes every Secret"


@policy
def the_namespace_enforces_restricted_pods(objects: list[Object]) -> Broken:
    for name, namespace in of_kind(objects, "Namespace"):
        for mode in ("enforce", "warn", "audit"):
            if namespace["metadata"]["labels"].get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"{name}: does not {mode} restricted Pod Security"


@policy
def ingress_is_denied_unless_named(objects: list[Object]) -> Broken:
    policies = [o["spec"] for _, o in of_kind(objects, "NetworkPolicy")]
    if not any(p["podSelector"] == {} and "Ingress" in p["policyTypes"] and not p.get("ingress") for p in policies):
        yield "no policy denies ingress to every pod"
    for spec in policies:
        for rule in spec.get("ingress", []):
            itself = rule.get("from") == [{"podSelector": spec["podSelector"]}]
            if not rule.get("from") or not (rule.get("ports") or itself):
                yield f"{spec['podSelector']}: anybody, or any port"

"""From a container of a pod to the program that stands for it: command, environment, volumes.

One machine has no mount namespaces here, so a volume is a folder. A mountPath in command, args and
environment values is replaced by where the volume really is, which is also in `GENAI_VOLUME_<NAME>`. There is no DNS:
`<service>.<namespace>.svc` and `….svc.cluster.local` become the Service's address.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import Refused
from genai_pipeline.local.cluster.images import entrypoint, on_this_machine
from genai_pipeline.local.cluster.objects import Object, program_name
from genai_pipeline.local.supervision.supervisor import Program

_VARIABLE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
SCRATCH_ANNOTATION = "genai-pipeline/scratch"
_SERVICE_NAME = re.compile(
    r"\b([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\.([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\.svc(?:\.cluster\.local)?\b"
)


class ConfigMissing(Refused):
    """A ConfigMap, Secret or key that a container needs is not there."""


@dataclass(frozen=True)
class PodContext:
    """What a container needs to know besides its own description.

    Args:
        folder: of the pod; volumes, logs and the working folder lie in it.
        find: (kind, name) -> object in the pod's namespace.
        service_address: (namespace, service) -> address.
    """

    pod: Object
    folder: Path
    images: Mapping[str, Sequence[str]]
    find: Callable[[str, str], Object | None]
    service_address: Callable[[str, str], str]

    def log(self, container: str) -> Path:
        return self.folder / f"{container}.log"

    @property
    def short_folder(self) -> Path:
        """For unix sockets, whose paths may have 107 bytes. It need not exist, and is removed with the pod."""
        return Path(tempfile.gettempdir()) / f"genai-{self.pod['metadata']['uid'][:8]}"

    def claimed_folder(self, claim: str) -> Path:
        """Return where a claim's files lie: beside the pods, which come and go. Raises ConfigMissing."""
        found = self.find("PersistentVolumeClaim", claim)
        if found is None:
            raise ConfigMissing(f"PersistentVolumeClaim {claim} does not exist", "Apply it too.")
        if found["spec"].get("volumeName"):
            raise ConfigMissing(f"PersistentVolumeClaim {claim} names a volume", "One machine makes its own volumes.")
        folder = self.folder.parent.parent / "volumes" / f"{self.pod['metadata']['namespace']}.{claim}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @property
    def scratch(self) -> Path:
        """Return where its emptyDirs lie: in a place of its owner's, which the next pod gets when this one has gone.

        What an engine compiles holds the paths that it was compiled at.
        """
        meta = self.pod["metadata"]
        place = (meta.get("annotations") or {}).get(SCRATCH_ANNOTATION)
        if place is None:  # of a pod that an earlier version made
            return self.folder / "volumes"
        return self.folder.parent.parent / "scratch" / f"{meta['namespace']}.{place}"

    def previous_log(self, container: str) -> Path:
        """Of the container's predecessor, if it had one."""
        return self.folder / f"{container}.previous.log"


def program_of(container: Mapping[str, Any], context: PodContext) -> Program:
    """Write the volumes and return what to run. Raises UnknownImage or ConfigMissing."""
    command, environment = command_and_environment(container, context)
    work = context.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    return Program(
        name=program_name(context.pod, container["name"]),
        command=command,
        directory=work,
        log=context.log(container["name"]),
        environment=environment,
        autorestart=False,
        stop_wait_s=max(1, context.pod["spec"].get("terminationGracePeriodSeconds", 30)),
        start_s=0,
    )


def command_and_environment(container: Mapping[str, Any], context: PodContext) -> tuple[list[str], dict[str, str]]:
    """The container's command line and environment, every reference resolved."""
    locate = _locator(container, context)
    environment = {k: locate(v) for k, v in _environment(container, context).items()}
    own = {"GENAI_SHORT_FOLDER": str(context.short_folder)}
    for volume in context.pod["spec"].get("volumes") or []:
        variable = "GENAI_VOLUME_" + volume["name"].upper().replace("-", "_")
        own[variable] = str(_volume_path(volume, context))

    def given(field: str) -> list[str]:
        # The machine's own paths come last: a mountPath such as /tmp must not be replaced in them.
        return [expand(locate(expand(word, environment)), own) for word in container.get(field) or []]

    # What the image stands for is this machine's own, not the manifest's: its paths are no mount paths.
    command = on_this_machine(given("command")) or entrypoint(container["image"], context.images)
    return [*command, *given("args")], environment | own


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes expands it: unknown names stay as they are, `$$` is a dollar."""

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else environment.get(name, match.group(0))

    return _VARIABLE.sub(replacement, text)


def _environment(container: Mapping[str, Any], context: PodContext) -> dict[str, str]:
    environment: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        kind, key = ("ConfigMap", "configMapRef") if "configMapRef" in source else ("Secret", "secretRef")
        data = _data_of(kind, source[key]["name"], context, source[key].get("optional", False))
        environment |= {source.get("prefix", "") + name: value.decode() for name, value in data.items()}
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            value = _value_from(variable["valueFrom"], context)
            if value is not None:
                environment[variable["name"]] = value
        else:
            environment[variable["name"]] = expand(variable.get("value", ""), environment)
    return environment


def _value_from(source: Mapping[str, Any], context: PodContext) -> str | None:
    if "fieldRef" in source:
        return _field(source["fieldRef"]["fieldPath"], context.pod)
    kind, key = ("ConfigMap", "configMapKeyRef") if "configMapKeyRef" in source else ("Secret", "secretKeyRef")
    reference = source[key]
    optional = reference.get("optional", False)
    data = _data_of(kind, reference["name"], context, optional)
    if reference["key"] in data:
        return data[reference["key"]].decode()
    if optional:
        return None
    raise ConfigMissing(f"{kind} {reference['name']} has no key {reference['key']!r}", "Apply it with that key.")


def _field(path: str, pod: Object) -> str:
    meta = pod["metadata"]
    for group in ("labels", "annotations"):
        if path.startswith(f"metadata.{group}["):
            return meta.get(group, {}).get(path.split("'")[1], "")
    known = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "status.podIP": pod["status"]["podIP"],
        "status.hostIP": "127.0.0.1",
        "spec.nodeName": "local",
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
    }
    return known[path]


def _data_of(kind: str, name: str, context: PodContext, optional: bool = False) -> dict[str, bytes]:
    obj = context.find(kind, name)
    if obj is None:
        if optional:
            return {}
        raise ConfigMissing(f"{kind} {name} does not exist", "Apply it too.")
    decode = base64.b64decode if kind == "Secret" else str.encode
    binary = {k: base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()}
    return {k: decode(v) for k, v in (obj.get("data") or {}).items()} | binary


def _volume_path(volume: Mapping[str, Any], context: PodContext) -> Path:
    """Write what the volume holds and return where it lies."""
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    if "persistentVolumeClaim" in volume:
        return context.claimed_folder(volume["persistentVolumeClaim"]["claimName"])
    folder = (context.scratch if "emptyDir" in volume else context.folder / "volumes") / volume["name"]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, content in _files_of(volume, context).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.touch(mode=0o600)
        target.write_bytes(content)
    return folder


def _files_of(volume: Mapping[str, Any], context: PodContext) -> dict[str, bytes]:
    """Path below the volume -> content."""
    if "downwardAPI" in volume:
        items = volume["downwardAPI"].get("items") or []
        return {item["path"]: _field(item["fieldRef"]["fieldPath"], context.pod).encode() for item in items}
    if "configMap" not in volume and "secret" not in volume:
        return {}
    kind, source = ("ConfigMap", volume["configMap"]) if "configMap" in volume else ("Secret", volume["secret"])
    data = _data_of(kind, source.get("name") or source["secretName"], context, source.get("optional", False))
    paths = {item["key"]: item["path"] for item in source.get("items") or []} or {key: key for key in data}
    missing = [key for key in paths if key not in data]
    if missing:
        raise ConfigMissing(f"volume {volume['name']} has no key {missing[0]!r}", "Apply its source with that key.")
    return {path: data[key] for key, path in paths.items()}


def _locator(container: Mapping[str, Any], context: PodContext) -> Callable[[str], str]:
    """Replaces mount paths and service names by what they are on this machine."""
    volumes = {v["name"]: _volume_path(v, context) for v in context.pod["spec"].get("volumes") or []}
    mounts = {
        mount["mountPath"].rstrip("/"): str(volumes[mount["name"]] / mount.get("subPath", ""))
        for mount in container.get("volumeMounts") or []
    }
    paths = sorted(map(re.escape, mounts), key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w./-])({'|'.join(paths)})(?![\w.-])") if paths else None

    def locate(text: str) -> str:
        text = _SERVICE_NAME.sub(lambda m: context.service_address(m.group(2), m.group(1)), text)
        return pattern.sub(lambda m: mounts[m.group(1)], text) if pattern else text

    return locate

"""Explains from a pod's own status and events why it does not run: image, configuration, command, memory, probes. Pure.

The texts are those of kubelet 1.34 and containerd. LocalCluster writes the same texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause
from genai_pipeline.gateways.cluster.pods import condition, container_states, last_end

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_PASSING = re.compile(
    r"(?i)toomanyrequests|429|\b50[0-4]\b|QPS exceeded|timed? ?out|deadline exceeded|connection re(?:fused|set)"
    r"|registry is unavailable|no such host|network is unreachable|temporary failure|server misbehaving|EOF"
)
"""Answers of a registry that a later try may get past."""
_OURS = "genai-pipeline/"
"""In the names of the images that this repository builds."""
_KILLED = frozenset({137, 143})
"""128 and the number of SIGKILL or SIGTERM."""
_PROBES = {
    "Startup": Cause(
        "The startup probe fails",
        "Read the log: the engine is not up yet. Raise `serving.startup_deadline_s` if it needs longer.",
    ),
    "Liveness": Cause("The liveness probe fails and kills the container", "Read the log to see what makes it hang."),
    "Readiness": Cause(
        "The readiness probe fails", "Read the log: the engine runs, but does not say that it is ready."
    ),
}


def container_cause(pod: Mapping[str, Any], events: Sequence[ClusterEvent]) -> Cause | None:
    """Return the cause that the states of the pod's containers show, or None. `events`: of this pod."""
    for container in container_states(pod):
        waits = container["state"].get("waiting") or {}
        reason, message = waits.get("reason") or "", waits.get("message") or ""
        if reason in IMAGE_REASONS:
            return _image(str(container.get("image")), reason, _pull_message(message, events))
        if reason in CONFIG_REASONS:
            return _configuration(reason, message)
        ended = last_end(container)
        if ended and not container["ready"]:
            cause = _ended(ended)
            if cause:
                return cause
    return None


def pod_cause(pod: Mapping[str, Any], events: Sequence[ClusterEvent]) -> Cause | None:
    """Return the cause that the pod's status and events show besides its containers' states. `events`: of this pod."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        return _rejected(status["reason"], status.get("message") or "")
    if disrupted := condition(pod, "DisruptionTarget", "True"):
        return _disrupted(disrupted.get("reason") or "", disrupted.get("message") or "")
    found = [cause for event in reversed(events) for cause in [_of_event(event, status)] if cause]
    found += [killed] if (killed := _killed(pod)) else []
    if any(last_end(container) for container in container_states(pod)):
        # A container that a probe kills again and again is not ready either. That is only the consequence.
        found.sort(key=lambda cause: cause.what.startswith(_PROBES["Readiness"].what))
    return found[0] if found else None


def _killed(pod: Mapping[str, Any]) -> Cause | None:
    """Return which probe must have killed a container. Its event may come late or get lost."""
    probes = {
        container["name"]: [kind for kind in ("Startup", "Liveness") if container.get(f"{kind.lower()}Probe")]
        for container in (pod.get("spec") or {}).get("containers") or []
    }
    for container in container_states(pod):
        ended, kinds = last_end(container), probes.get(container.get("name") or "", [])
        if ended.get("exitCode") in _KILLED and ended.get("reason") != "OOMKilled" and not container["ready"] and kinds:
            one = _PROBES[kinds[-1]]
            return one if len(kinds) == 1 else Cause("The startup or the liveness probe fails", one.remedy)
    return None


def _pull_message(message: str, events: Sequence[ClusterEvent]) -> str:
    """Return the message of the failure before a back-off: it says more."""
    failures = [e.message for e in events if e.reason == "Failed" and e.message.startswith("Failed to pull image")]
    return failures[-1] if failures and "Back-off" in message else message


def _image(image: str, reason: str, message: str) -> Cause:
    if reason == "InvalidImageName":
        return Cause(f"{image} is not a valid image name", _right_name(image), True)
    if reason == "ErrImageNeverPull":
        return Cause(
            f"The image {image} is not on the node, and its pull policy is Never",
            "Load it onto the node, or use a pull policy that pulls.",
            True,
        )
    if re.search(r"(?i)\b40[13]\b|unauthorized|forbidden|denied|authorization failed", message):
        return Cause(
            f"The registry denies the image {image}",
            "Give the ServiceAccount an imagePullSecret, or the node's role the right to pull.",
            True,
        )
    if "no match for platform" in message:
        what = f"The image {image} has no variant for the node's processor"
        return Cause(what, "Build it for that processor too, or choose other nodes.", True)
    if re.search(r"(?i)not found|manifest unknown|does not exist", message):
        return Cause(f"The registry has no image {image}", _right_name(image), True)
    if _PASSING.search(message):
        what = f"The registry of the image {image} does not answer"
        return Cause(what, "Check the registry and the node's network; the node tries again by itself.")
    return Cause(f"The image {image} cannot be pulled", _right_name(image), True)


def _right_name(image: str) -> str:
    if _OURS in image and "vllm" not in image:
        return "Build it and push it (docs/kubernetes.md, Images), or correct GENAI_IMAGE_REGISTRY."
    return "Correct the image, which is `serving.image` of an engine, or push it."


def _configuration(reason: str, message: str) -> Cause:
    missing = re.search(r'(?i)(secret|configmap) "?([^"\s]+)"? not found', message)
    if missing:
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[missing[1].lower()]
        return Cause(f"The {kind} {missing[2]} is missing", f"Apply {kind} {missing[2]} before the Deployment.", True)
    key = re.search(r"couldn't find key (\S+) in (Secret|ConfigMap) \S+/(\S+)", message)
    if key:
        return Cause(f"The {key[2]} {key[3]} has no key {key[1]}", f"Add the key to {key[2]} {key[3]}.", True)
    if re.search(r"runAsNonRoot|non-numeric user", message):
        return Cause(f"The image would run as root ({message})", "Set runAsUser, or use another image.", True)
    started = _start(message)
    if started:
        return started
    # An overloaded runtime also fails to create a container, and succeeds later: this cause is not final.
    return Cause(f"The container cannot be created: {message or reason}", "Correct what the message names.")


def _start(message: str) -> Cause | None:
    if "exec format error" in message:
        return Cause(
            "The image is for another processor (exec format error)", "Build it for the node's processor.", True
        )
    command = re.search(r'exec: "([^"]+)": (?:stat|executable file not found|permission denied|no such)', message)
    if command:
        remedy = "Correct the container's `command`, or the image."
        return Cause(f"The container's command {command[1]} cannot be started", remedy, True)
    return None


def _ended(ended: Mapping[str, Any]) -> Cause | None:
    reason, message = ended.get("reason") or "", ended.get("message") or ""
    if reason == "OOMKilled":
        return Cause(
            "The container was OOMKilled: it used more memory than its limit",
            "Raise `serving.resources.memory_gib` in the model file, or lower what the engine caches.",
        )
    if reason in ("StartError", "ContainerCannotRun"):
        return _start(message) or Cause(f"The container cannot be started: {message}", "Correct its `command`.")
    return None


def _rejected(reason: str, message: str) -> Cause:
    if reason == "Evicted":
        return Cause(
            f"The pod was evicted: {message}", "Raise its requests, or give the node more of the resource that ran out."
        )
    return Cause(f"The node rejected the pod ({reason}): {message}", "Free the node, or use another.")


def _disrupted(reason: str, message: str) -> Cause:
    if "Preempt" in reason or "Preempt" in message:
        what = f"The pod was preempted by one of higher priority: {message}"
        return Cause(what, "Raise the pod's priorityClassName, or add capacity.")
    return Cause(
        f"The pod has to leave its node ({reason}): {message}", "See the node; the pod starts on another node."
    )


def _of_event(event: ClusterEvent, status: Mapping[str, Any]) -> Cause | None:
    """Return the cause that an event shows. Warnings of the time before a container started are left out."""
    reason, message = event.reason, event.message
    started = any("running" in c["state"] or last_end(c) for c in status.get("containerStatuses") or [])
    if reason == "Unhealthy":
        return next((_with(c, message) for kind, c in _PROBES.items() if message.startswith(f"{kind} probe")), None)
    if reason == "Killing":
        kind = re.search(r"failed (\w+) probe", message)
        return _PROBES.get(kind[1].capitalize()) if kind else None
    if reason == "NodeNotReady":
        return Cause("The node is not ready", "See the node (`kubectl describe node`); its pods move by themselves.")
    if reason == "Preempted":
        what = f"The pod was preempted by one of higher priority: {message}"
        return Cause(what, "Raise the pod's priorityClassName, or add capacity.")
    if started:
        return None
    if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        return _mount(message)
    if reason in ("FailedCreatePodSandBox", "NetworkNotReady"):
        return Cause(
            f"The node cannot create the pod's sandbox: {message}", "Check the node's runtime and network plugin."
        )
    return None


def _mount(message: str) -> Cause:
    volume = re.search(r'for volume "([^"]+)"', message)
    named = f"The volume {volume[1]}" if volume else "A volume"
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', message)
    if missing:
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[missing[1]]
        what = f"{named} cannot be mounted: the {kind} {missing[2]} is missing"
        return Cause(what, f"Apply {kind} {missing[2]} before the Deployment.", True)
    if "non-existent" in message and "key" in message:
        return Cause(f"{named} cannot be mounted: {message}", "Add the key that the message names.", True)
    return Cause(f"{named} cannot be mounted: {message}", "Correct the volume, or see the node's storage driver.")


def _with(cause: Cause, message: str) -> Cause:
    return Cause(f"{cause.what} ({message})", cause.remedy)

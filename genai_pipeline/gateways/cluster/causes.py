"""The likely cause behind the last lines of a log, and what to do. Pure; for every sort of cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    what: str
    remedy: str


_CAUSES: tuple[tuple[str, Cause], ...] = (
    (
        r"unrecognized arguments: (?P<detail>.+)|No such option:? (?P<option>\S+)",
        Cause("The engine does not know an argument", "Correct `serving.args` in the model file."),
    ),
    (
        r"max seq len .*larger than the maximum|KV cache .*(?:not enough|too small|needed)"
        r"|No available memory for the cache",
        Cause(
            "The KV cache is too small for the context length",
            "Lower `max-model-len` or raise `gpu-memory-utilization` in the model file.",
        ),
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|OOMKilled|MemoryError|Cannot allocate memory|SIGKILL|exit code 137",
        Cause("The memory ran out", "Give it more memory, or lower `max-model-len` and the batch sizes."),
    ),
    (
        r"NoSuchKey|NoSuchBucket|Not Found.*s3://|(?:404).*HeadObject",
        Cause("The store does not have what was asked for", "Materialize staged_model for this release again."),
    ),
    (
        r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|\b403\b.*(?:Object|s3)|(?:s3|S3).*\b403\b",
        Cause("The store refuses these credentials", "Check the credentials or the pod identity of the engine's pods."),
    ),
    (
        r"(?i)could not connect to the endpoint url|EndpointConnectionError"
        r"|(?:s3|streamer).*(?:connection refused|timed? ?out)",
        Cause("The store cannot be reached from the pod", "Check AWS_ENDPOINT_URL and that the store runs."),
    ),
    (
        r"Model architectures? \[.*\] (?:are|is) not supported|not recognize this architecture|unknown architecture",
        Cause("The engine does not know this model architecture", "Use a newer engine image or another model."),
    ),
    (
        r"[Aa]ddress already in use|Errno 98|EADDRINUSE",
        Cause("The port is in use", "Bind to $(POD_IP), not to 0.0.0.0, and end whatever holds the port."),
    ),
    (
        r"(?:ModuleNotFoundError|ImportError): (?P<module>.+)|No module named (?P<name>\S+)",
        Cause("A Python module is missing in the image", "Install it, or use an image that has it."),
    ),
    (
        r"no command is known for image|ErrImagePull|ImagePullBackOff|InvalidImageName",
        Cause("The image cannot be had", "Correct the image's name, or make it known."),
    ),
    (
        r"cannot start (?P<command>\S+): ",
        Cause("The container's command cannot be started", "Correct the container's `command`."),
    ),
    (
        r"(?:ConfigMap|Secret) \S+ (?:does not exist|has no key)|(?:configmap|secret) \"\S+\" not found",
        Cause("A ConfigMap or Secret is missing", "Apply it before the Deployment."),
    ),
)


def likely_cause(text: str) -> Cause | None:
    """The first known cause that the text shows, with the detail it names; None for an unknown one."""
    for pattern, cause in _CAUSES:
        match = re.search(pattern, text)
        if match:
            detail = next((value.strip() for value in match.groupdict().values() if value), "")
            return Cause(f"{cause.what}: {detail}" if detail else cause.what, cause.remedy)
    return None

"""The likely cause behind the last lines of an engine's log, and what to do. Pure; for every sort of cluster.

The texts are those of vLLM 0.32, transformers, torch, boto3 and runai_model_streamer 0.17.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why something does not come up and what mends it. `final`: neither time nor another start will."""

    what: str
    remedy: str
    final: bool = False


_ARGS = "Correct `serving.args` in the model file."
_STAGE = "Materialize staged_model for this release again."
_MEMORY = "Lower `gpu-memory-utilization`, `max-model-len` or `max-num-seqs`, or take a GPU with more memory"
_GPU_NODE = "Set `serving.gpu` in the model file, and check the image and the driver of the node pool."

_CAUSES: tuple[tuple[str, Cause], ...] = (
    (
        r"unrecognized arguments: (?P<detail>.+)|No such option:? (?P<option>\S+)",
        Cause("The engine does not know an argument", _ARGS, True),
    ),
    (
        r"error: argument (?P<detail>\S+: (?:invalid|expected|Value) .+)",
        Cause("The engine refuses the value of an argument", _ARGS, True),
    ),
    (
        r"invalid (?:tool call|reasoning) parser: (?P<detail>\S+)|reasoning_parser_name='(?P<name>.+)' has not been"
        r"|enable-auto-tool-choice requires (?P<need>--tool-call-parser)",
        Cause(
            "The engine does not know this parser",
            "Set `tool-call-parser` or `reasoning-parser` in `serving.args` to one that the log lists.",
            True,
        ),
    ),
    (
        r"max seq len .*larger than the (?:available|maximum)|KV cache .*(?:not enough|too small|needed)"
        r"|No available memory for the cache|to serve even a single token",
        Cause(
            "The KV cache is too small for the context length",
            "Lower `max-model-len` or raise `gpu-memory-utilization` in the model file.",
            True,
        ),
    ),
    (
        r"max_model_len \((?P<detail>.+?)\) is greater than the derived",
        Cause("The context length is longer than the model's own", "Lower `max-model-len` in the model file.", True),
    ),
    (
        r"Free memory on device .* is less than desired|less than desired CPU memory utilization",
        Cause("The memory is not free that the engine is to reserve", f"{_MEMORY}; or end what else uses it."),
    ),
    (
        r"CUDA out of memory|not enough GPU memory|OutOfMemoryError|CUDA error: out of memory",
        Cause("The GPU memory ran out", f"{_MEMORY} in the model file."),
    ),
    (
        r"(?<!\w)MemoryError|Cannot allocate memory|OOMKilled",
        Cause("The memory ran out", "Raise `serving.resources.memory_gib` in the model file."),
    ),
    (
        r"NoSuchKey|NoSuchBucket|Not Found.*s3://|404.*HeadObject|Cannot find any (?:safetensors )?model weights"
        r"|Invalid repository ID or local directory specified",
        Cause("The store does not have what was asked for", _STAGE),
    ),
    (
        r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|NoCredentialsError|Unable to locate credentials"
        r"|\b403\b.*(?:Object|s3)|(?:s3|S3).*\b403\b",
        Cause("The store refuses these credentials", "Check the credentials or the pod identity of the engine's pods."),
    ),
    (
        r"(?i)could not connect to the endpoint url|EndpointConnectionError|connect timeout on endpoint url"
        r"|(?:s3|streamer).*(?:connection refused|timed? ?out)",
        Cause("The store cannot be reached from the pod", "Check AWS_ENDPOINT_URL, NetworkPolicies and the store."),
    ),
    (
        r"SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer",
        Cause("The weights are damaged", _STAGE, True),
    ),
    (
        r"Model architectures? (?P<detail>\S+) (?:(?:are|is) not supported|failed to be inspected|was supported in)"
        r"|model type `(?P<type>.+?)` but Transformers does not|not recognize this architecture|unknown architecture",
        Cause("The engine does not know this model architecture", "Use a newer engine image or another model.", True),
    ),
    (
        r"Unknown quantization method: (?P<name>\S+)|quantization method (?P<detail>\S+) is not supported"
        r"|only supported on GPUs with compute capability",
        Cause("This GPU cannot run the model in this number format", "Set `dtype` or another GPU family.", True),
    ),
    (
        r"World size \((?P<detail>\d+)\) is larger than|must be divisible by tensor parallel size",
        Cause(
            "The engine is to use more GPUs than the pod has",
            "Make `tensor-parallel-size` equal to `serving.gpu.count`, and a divisor of the attention heads.",
            True,
        ),
    ),
    (
        r"trust_remote_code=True|--trust-remote-code",
        Cause("The model wants to run its own code", "Set `trust-remote-code: true` if you trust its author.", True),
    ),
    (
        r"GatedRepoError|OfflineModeIsEnabled|LocalEntryNotFoundError|couldn't connect to 'https://huggingface.co'",
        Cause("The engine looks for the model on the hub", _STAGE, True),
    ),
    (
        r"Failed to infer device type|Found no NVIDIA driver|driver version is insufficient|libcuda\.so"
        r"|No CUDA GPUs are available|no CUDA-capable device",
        Cause("The container sees no usable GPU", _GPU_NODE, True),
    ),
    (
        r"[Aa]ddress already in use|Errno 98|EADDRINUSE",
        Cause("The port is in use", "Bind to $(POD_IP), not to 0.0.0.0, and end whatever holds the port."),
    ),
    (
        r"No space left on device|Errno 28|Bus error",
        Cause("A volume of the pod is full", "Raise the sizeLimit of its emptyDir volumes, /dev/shm above all."),
    ),
    (
        r"Read-only file system: (?P<detail>\S+)|Permission denied: (?P<path>\S+)",
        Cause("The container may not write where it wants to", "Mount an emptyDir there, or point HOME to one.", True),
    ),
    (
        r"(?:ModuleNotFoundError|ImportError): (?P<module>.+)|No module named (?P<name>\S+)",
        Cause("A Python module is missing in the image", "Install it, or use an image that has it.", True),
    ),
    (
        r"no command is known for image|ErrImagePull|ImagePullBackOff|InvalidImageName",
        Cause("The image cannot be had", "Correct the image's name, or make it known.", True),
    ),
    (
        r"cannot start (?P<command>\S+): |exec format error|(?P<script>\S+: not found)$",
        Cause("The container's command cannot be started", "Correct the container's `command`.", True),
    ),
    (
        r"(?:ConfigMap|Secret) \S+ (?:does not exist|has no key)|(?:configmap|secret) \"(?P<detail>\S+)\" not found",
        Cause("A ConfigMap or Secret is missing", "Apply it before the Deployment.", True),
    ),
)
_CHATTER = re.compile(r"^(?:\([^)]*\) )?(?:INFO|DEBUG|WARNING)\b|^\s*warnings\.warn|\w*Warning: ")
"""Engines mention missing modules, memory and arguments in what they merely tell; only the rest is a complaint."""


def likely_cause(text: str) -> Cause | None:
    """The first known cause that the text shows, with the detail it names; None for an unknown one."""
    lines = [line for line in text.splitlines() if not _CHATTER.search(line)]
    complaints = "\n".join(lines)
    for pattern, cause in _CAUSES:
        match = re.search(pattern, complaints, re.MULTILINE)
        if match:
            detail = next((value.strip() for value in match.groupdict().values() if value), "")
            return Cause(f"{cause.what}: {detail}" if detail else cause.what, cause.remedy, cause.final)
    return None

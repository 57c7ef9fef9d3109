"""What an engine compiled, kept in the store for the next start of the same engine. Pure.

    models/<name>/caches/<revision>/<key>/<sha256>.tar     the archive, written first
    models/<name>/caches/<revision>/<key>/manifest.json    written last, and only conditionally

An archive holds code. So only the pipeline writes it, and a pod restores it only by the sha256 in its release's record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from genai_pipeline.core.env_value import EnvValue
from genai_pipeline.core.manifest import MANIFEST_NAME
from genai_pipeline.core.model_spec import Gpu

FORMAT = 1
CACHES = "caches"
"""Folder beside a model's revisions. No revision has this name."""

_NOT_COMPILED = ("AWS_", "GENAI_", "RUNAI_")
_NOT_COMPILED_NAMES = frozenset({"POD_IP", "PYTHONPATH", "USER"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


def compiling_env(env: Mapping[str, EnvValue]) -> dict[str, str]:
    """Return the variables on which compiled code may depend.

    Left out are the store and its credentials, the streamer's bounds, the pipeline's own variables, and keys of
    Secrets: they decide where bytes come from, and a secret belongs into no digest.
    """
    return {
        name: value
        for name, value in env.items()
        if isinstance(value, str) and not name.startswith(_NOT_COMPILED) and name not in _NOT_COMPILED_NAMES
    }


def cache_key(
    *,
    image: str,
    args: tuple[str, ...],
    env: Mapping[str, EnvValue],
    revision: str,
    weights: str,
    gpu: Gpu | None,
    isa: str,
) -> str:
    """Return the key under which the archive of an engine is kept: engines with one key compile the same.

    Args:
        image: it brings vLLM, torch, Triton and CUDA. Another image behind the same tag is found at the restore.
        args: of the command line, without the model's path, names and addresses. Shapes and graphs come from them.
        env: of the engine; only `compiling_env` counts. vLLM hashes its own variables, too.
        revision: vLLM's key of compiled graphs holds the path of the model, which the revision is a part of.
        weights: how they reach the engine, since that decides the rest of this path.
        gpu: kernels are compiled for one architecture, and with the number of GPUs the shapes differ.
        isa: without a GPU the instructions of the processor, or an empty text if the node is not known before.
    """
    known = None if gpu is None else [gpu.resource, gpu.instance_family, dict(gpu.selector), gpu.count]
    parts = [image, list(args), compiling_env(env), revision, weights, known, "" if gpu else isa]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class CachePlace:
    """Where the archive of a key is."""

    model: str
    revision: str
    key: str

    @property
    def prefix(self) -> str:
        return f"{caches_prefix(self.model, self.revision)}{self.key}/"

    @property
    def manifest_key(self) -> str:
        return self.prefix + MANIFEST_NAME

    def archive_key(self, sha256: str) -> str:
        return f"{self.prefix}{sha256}.tar"


def caches_prefix(model: str, revision: str) -> str:
    """Return the key prefix of all caches of a revision, with its trailing slash."""
    return f"models/{model}/{CACHES}/{revision}/"


@dataclass(frozen=True)
class CacheManifest:
    """What the archive is, and where it came from.

    Args:
        sha256, size: of the archive. files: how many it holds.
        made_with: versions by which a pod judges whether the archive fits.
        image_id: digest of the image that the pod ran. gpu: product of its node. Empty where it is not known.
        args: the command line. env_names: names only, because values may be secret.
        release: whose engine made it. written_at: UTC in ISO 8601. tool: program and version that wrote it.
    """

    model: str
    revision: str
    key: str
    release: str
    sha256: str = ""
    size: int = 0
    files: int = 0
    made_with: Mapping[str, str] = field(default_factory=dict[str, str])
    image_id: str = ""
    gpu: str = ""
    args: tuple[str, ...] = ()
    env_names: tuple[str, ...] = ()
    written_at: str = ""
    tool: str = ""
    format: int = FORMAT

    @property
    def place(self) -> CachePlace:
        return CachePlace(self.model, self.revision, self.key)

    @property
    def archive_key(self) -> str:
        return self.place.archive_key(self.sha256)

    def of_archive(self, sha256: str, size: int, files: int, made_with: Mapping[str, str]) -> CacheManifest:
        """Return this manifest for an archive."""
        return replace(self, sha256=sha256, size=size, files=files, made_with=dict(made_with))

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> CacheManifest:
        """Raises: ValueError, KeyError, TypeError: it is not a manifest, or of a format newer than FORMAT."""
        data: dict[str, Any] = json.loads(body)
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r} is not {FORMAT}")
        if not _SHA256.fullmatch(data["sha256"]):
            raise ValueError("its sha256 is not one")
        data["made_with"] = versions(data["made_with"])
        data["args"], data["env_names"] = tuple(data["args"]), tuple(data["env_names"])
        return cls(**data)


def versions(given: Any) -> dict[str, str]:
    """Return `given` if it is an object of texts, which is the form of versions. Raises: ValueError."""
    if not isinstance(given, dict) or not all(isinstance(v, str) for pair in given.items() for v in pair):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        raise ValueError("versions are an object of texts")
    return dict(given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


class Reason(StrEnum):
    """Why an engine started from an archive, or did not. The label of a metric, so there are few.

    `k8s/restoring.py`, which runs in the pod without this package, says all but the last one.
    """

    HIT = "hit"
    NONE = "none"
    """There was no archive for its key."""
    DIGEST = "digest"
    """The archive has other bytes than the record says."""
    VERSIONS = "versions"
    """It was made with other versions: another image is behind the same tag."""
    SLOW = "slow"
    FAILED = "failed"
    OFF = "off"
    """The engine compiles nothing that is worth keeping."""


STALE = frozenset({Reason.DIGEST, Reason.VERSIONS})
"""After these the archive is of no use to the next start, and a new one takes its place. After another failure it may
be of use, and other releases may have pinned it."""


@dataclass(frozen=True)
class Restored:
    """What a pod says about the archive that it was to start from. `bytes` are the archive's."""

    reason: Reason
    why: str
    bytes: int
    seconds: float
    sha256: str

    @property
    def hit(self) -> bool:
        return self.reason is Reason.HIT

"""`serving.weights: prefetch`: what the pod of an engine has more than for streaming. Pure."""

from __future__ import annotations

from typing import Any

from genai_pipeline.core.engine_args import world_size
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.engine import GIB, MIDDLEWARE_FOLDER, PodFile, weights_url

PREFETCHED = "/mnt/prefetch"
"""Where the weights lie in memory until they are loaded."""
ENGINE_GIB = 7
"""Memory of an engine with a GPU beside its weights: the processes of CUDA."""
PREFETCHING = PodFile("prefetching", "genai_prefetching.py", "prefetching.py")
_INFO = "genai_prefetch-1.dist-info"
POD_FILES = (
    PREFETCHING,
    PodFile("prefetch-loader", "genai_prefetch_loader.py", "prefetch_loader.py"),
    PodFile("prefetch-metadata", f"{_INFO}/METADATA", "prefetch_dist_info/METADATA"),
    PodFile("prefetch-entry-points", f"{_INFO}/entry_points.txt", "prefetch_dist_info/entry_points.txt"),
)
"""vLLM finds a plugin by the entry points of an installed distribution, and `/etc/genai` is on its path."""


def prefetch_values(serving: Serving, release: Release, profile: Profile) -> dict[str, Any]:
    """Return what the template of the pod needs, or that there is no such volume."""
    if serving.weights != "prefetch":
        return {"prefetched": None}
    return {
        "prefetched": PREFETCHED,
        "prefetch_limit": f"{serving.resources.memory_gib:g}Gi",
        "engine_command": ["python3", f"{MIDDLEWARE_FOLDER}/{PREFETCHING.name}"],
        "prefetch_env": {
            "GENAI_PREFETCH_FROM": weights_url(profile, release),
            "GENAI_PREFETCH_FOLDER": PREFETCHED,
            "GENAI_PREFETCH_READERS": str(world_size(serving)),
            "GENAI_PREFETCH_KEEPS_FREE": str(engine_bytes(serving)),
            "GENAI_PREFETCH_DEADLINE_S": str(serving.startup_deadline_s // 2),
        },
    }


def engine_bytes(serving: Serving) -> int:
    """Return the memory that an engine with a GPU takes beside its weights. Without one, its size is not known."""
    return ENGINE_GIB * GIB if serving.gpu else 0

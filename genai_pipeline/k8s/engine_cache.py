"""What an engine compiles and the next one may take over: where it is said, and which engines have it. Pure.

The pipeline pulls an archive from a pod, keeps it in the store and names it in a ConfigMap. The init container of the
next pod restores it (`restoring.py`). No engine may write to the store: an archive holds code.
"""

from __future__ import annotations

from genai_pipeline.core.engine_args import given
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.gpu_defaults import gpu_of

ENGINE_ACCESS = "genai-engine-access"
"""The Secret with the token of the paths that only the pipeline may ask an engine for."""
TOKEN_KEY = "token"
URL_KEY, SHA256_KEY, MADE_WITH_KEY = "url", "sha256", "made-with"
"""Keys of the ConfigMap that `cache_name` names."""


def keeps_cache(serving: Serving, profile: Profile) -> bool:
    """Return whether an engine compiles what is worth keeping.

    A GPU's kernels are compiled at run time in eager mode, too.
    """
    return gpu_of(serving, profile) is not None or given(serving, "enforce-eager") is not True


def restore_command(folder: str, profile: Profile) -> list[str]:
    """Return the command of the init container. It never fails, so that no pod waits for an archive.

    An image may have no `python3` on its path, and a node may end the process. One machine has no images: its cluster
    runs `python3` as its own interpreter.

    Args:
        folder: where the files of this package lie in the pod.
    """
    script = f"{folder}/genai_restoring.py"
    return ["python3", script] if profile.name == "local" else ["sh", "-c", f"python3 {script} || true"]


def cache_name(release: Release) -> str:
    """Return the name of the ConfigMap that tells the pods of a release which archive to restore."""
    return f"{release.object_name}-cache"

"""What an engine compiles and the next one may take over: where it is said, and which engines have it. Pure.

The pipeline pulls an archive from a pod, keeps it in the store and names it in a ConfigMap. The init container of the
next pod restores it (`restoring.py`). No engine may write to the store: an archive holds code.
"""

from __future__ import annotations

from genai_pipeline.core.engine_args import given
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.release import Release

ENGINE_ACCESS = "genai-engine-access"
"""The Secret with the token of the paths that only the pipeline may ask an engine for."""
TOKEN_KEY = "token"
URL_KEY, SHA256_KEY, MADE_WITH_KEY = "url", "sha256", "made-with"
"""Keys of the ConfigMap that `cache_name` names."""


def keeps_cache(serving: Serving) -> bool:
    """Return whether an engine compiles what is worth keeping.

    A GPU's kernels are compiled at run time in eager mode, too.
    """
    return serving.gpu is not None or given(serving, "enforce-eager") is not True


def cache_name(release: Release) -> str:
    """Return the name of the ConfigMap that tells the pods of a release which archive to restore."""
    return f"{release.object_name}-cache"

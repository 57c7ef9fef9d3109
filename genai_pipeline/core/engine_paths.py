"""What of an engine only the pipeline may ask for, and how. The files in the pod have the same words once more:
`k8s/pipeline_only.py` and `k8s/sleeping.py`, which run without this package."""

TOKEN_HEADER = "X-Genai-Pipeline-Token"
"""A header of its own, since the API server's proxy takes away an Authorization."""
CACHE_PATH = "/genai/compile-cache"
RESTORED_PATH = "/genai/restored"
MADE_WITH_HEADER = "X-Genai-Made-With"
REASON_HEADER = "X-Genai-Reason"
"""Says why there is no archive."""

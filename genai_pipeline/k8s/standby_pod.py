"""What `serving.standby: sleep` adds to an engine's pod, and the Service that reaches it while it sleeps. Pure."""

from __future__ import annotations

from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.templating import Objects, render_template

SLEEPING_MIDDLEWARE = "genai_sleeping.Sleeping"
"""Around all others, so that nothing of vLLM is reached past it."""
READY_PATH, HEALTH_PATH = "/genai/ready", "/health"


def may_sleep(serving: Serving) -> bool:
    return serving.standby == "sleep"


def standby_env(serving: Serving) -> dict[str, str]:
    """Return the switch of vLLM's development mode, without which it has no path to sleep by."""
    return {"VLLM_SERVER_DEV_MODE": "1"} if may_sleep(serving) else {}


def render_standby_service(release: Release, profile: Profile, port: int) -> Objects:
    """Return the Service of a release that may sleep: its pod is not ready then, and other Services leave it out."""
    return render_template("standby_service.yaml", profile, release, port=port) if release.sleeps else []

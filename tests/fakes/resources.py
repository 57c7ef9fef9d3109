"""The graph's resources over fake gateways: only where settings and gateways come from is replaced."""

from collections.abc import Callable
from typing import Any

from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.resources.configured import ProfileResource, pipeline_resources
from genai_pipeline.resources.engines import Engines


def fake_resources(engines: Callable[[], Engines]) -> dict[str, Any]:
    """Return resources with the settings and gateways of these engines, asked for each time."""

    class FakeProfile(ProfileResource):
        def settings(self) -> Profile:
            return engines().profile

        def gateways(self) -> Gateways:
            return engines().gateways

    return pipeline_resources(FakeProfile.configure_at_launch())

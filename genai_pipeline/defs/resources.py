"""The resources of the graph, and how its steps run."""

import os

import dagster as dg

from genai_pipeline.resources.configured import ProfileResource, pipeline_resources

EXECUTOR = dg.multiprocess_executor.configured(
    # Forked from one warm server, a step starts in a fraction of a second instead of importing everything again.
    {"max_concurrent": 4, "start_method": {"forkserver": {"preload_modules": ["genai_pipeline.definitions"]}}}
)


@dg.definitions
def resources() -> dg.Definitions:
    """Return the resources. A field whose variable is set shows that variable in the launchpad."""
    profile = ProfileResource.from_environment(os.environ)
    return dg.Definitions(resources=pipeline_resources(profile), executor=EXECUTOR)

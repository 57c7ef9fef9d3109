"""The whole graph over fake resources: what `defs()` loads, without its resources and executor."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from genai_pipeline.components.served_models import graphs_of
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.defs.jobs.approve import approve
from genai_pipeline.defs.jobs.prune import prune, prune_schedule
from genai_pipeline.defs.jobs.redeploy import redeploy
from genai_pipeline.defs.jobs.roll_back import roll_back
from genai_pipeline.defs.sensors.notifications import notifications
from genai_pipeline.defs.sensors.upkeep_failures import upkeep_failures
from genai_pipeline.resources.configured import ModelsResource


def graph_on(
    files: ModelFiles, resources: Mapping[str, Any], tick_s: int = 30, has_node_pools: bool = False
) -> dg.Definitions:
    """Return the graph of these model files. The resource `models` gives the same files."""

    class GivenModels(ModelsResource):
        def files(self) -> ModelFiles:
            return files

    fixed = dg.Definitions(
        jobs=[approve, prune, redeploy, roll_back],
        sensors=[notifications, upkeep_failures],
        schedules=[prune_schedule],
        resources={**resources, "models": GivenModels(folder="")},
    )
    return dg.Definitions.merge(fixed, graphs_of(files, tick_s, has_node_pools))

"""The component `ServedModels`: a folder of model files becomes the graphs of its models."""

import logging
import os
from typing import Annotated

import click
import dagster as dg
from pydantic import BaseModel, Field

from genai_pipeline.assets.agent_candidate import agent_candidate
from genai_pipeline.assets.agent_report import agent_report
from genai_pipeline.assets.candidate import candidate
from genai_pipeline.assets.capacity import capacity
from genai_pipeline.assets.chat_ui import chat_ui_of
from genai_pipeline.assets.live import live
from genai_pipeline.assets.model_files import model_files_of
from genai_pipeline.assets.node_pools import node_pools_of
from genai_pipeline.assets.observability import observability
from genai_pipeline.assets.release_asset import ReleaseAsset
from genai_pipeline.assets.serving_report import serving_report
from genai_pipeline.assets.snapshot import snapshot
from genai_pipeline.assets.staged_model import staged_model
from genai_pipeline.automation.alerts_sensor import alerts_sensor
from genai_pipeline.automation.live_watch_sensor import live_watch_sensor
from genai_pipeline.automation.redeploys import redeploy_sensor
from genai_pipeline.automation.rollouts import promote_job, releases_of, rollout_job, version_sensors
from genai_pipeline.automation.upkeep import upkeep_of
from genai_pipeline.core.model_file import ModelFiles, read_models
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.purpose import checks_of
from genai_pipeline.resources.configured import ModelsResource

RELEASE_ASSETS = (
    snapshot,
    staged_model,
    capacity,
    candidate,
    serving_report,
    agent_candidate,
    agent_report,
    live,
)
FOLDER = "Folder of the model files. A relative path starts at the project."


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    folder: str = Field("models", description=FOLDER)


class ServedModelsScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Write the `defs.yaml` of a code location that has none of these yet."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """Return what `dg scaffold defs` asks for."""
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Raises: ClickException: the code location has one, whose sensors would have the same names."""
        found = [
            path for path in request.target_path.parent.rglob("defs.yaml") if request.type_name in path.read_text()
        ]
        if found:
            request.target_path.rmdir()
            raise click.ClickException(f"{found[0]} serves models already. Add your model as a file to its folder.")
        dg.scaffold_component(request, {"folder": request.params.folder})


@dg.scaffold_with(ServedModelsScaffolder)
class ServedModels(dg.Component, dg.Model, dg.Resolvable):
    """A graph, two jobs and the upkeep of each model that has a file in a folder.

    A code location has one of these. A wrong model file takes away only its own model. The asset
    `platform/model_files` shows what is wrong with it. docs/model-file.md describes the files.
    """

    folder: Annotated[str, Field(description=FOLDER)]

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Read the files. No network is used."""
        folder = context.project_root / self.folder
        profile = Profile.load(os.environ)
        files = read_models(folder, profile.name == "local")
        for error in files.errors:
            logging.getLogger("genai_pipeline").error("%s", error)
        resources = {"models": ModelsResource(folder=str(folder))}
        graphs = graphs_of(files, profile.tick_s, profile.has_eks_nodes)
        return dg.Definitions.merge(graphs, dg.Definitions(resources=resources))


def _assets_of(spec: ModelSpec) -> list[ReleaseAsset]:
    """Return the assets of a model: those with a check that applies to it."""
    return [asset for asset in RELEASE_ASSETS if asset.name in checks_of(spec)]


def graphs_of(files: ModelFiles, tick_s: int, has_node_pools: bool) -> dg.Definitions:
    """Return the assets, jobs, sensors and schedules of these models.

    Args:
        tick_s: seconds between two looks of a version sensor.
        has_node_pools: whether the profile brings node pools. Elsewhere no check asks about them.
    """
    upkeep = upkeep_of(files.specs, has_node_pools)
    kept_out = dg.AssetSelection.checks(*(upkeep.asset_checks or ()))
    jobs = [make(spec, kept_out) for make in (rollout_job, promote_job) for spec in files.specs]
    of_models = [asset.for_model(spec, releases_of(spec)) for spec in files.specs for asset in _assets_of(spec)]
    platform = [model_files_of(files), node_pools_of(has_node_pools), observability, chat_ui_of(files.specs)]
    graphs = dg.Definitions(
        assets=[*platform, *of_models],
        jobs=jobs,
        sensors=[
            *version_sensors(files, jobs, tick_s),
            live_watch_sensor(files, tick_s),
            redeploy_sensor(files.specs),
            alerts_sensor(files.specs),
        ],
    )
    return dg.Definitions.merge(graphs, upkeep)

"""What an engineer at the Dagster UI can do, in one process."""

import dagster as dg

from genai_pipeline.automation.rollouts import promote_job_name, releases_of
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.verdict import passed
from genai_pipeline.resources.engines import Engines
from tests.fakes.graph import graph_on
from tests.fakes.model_texts import model_with_tools
from tests.fakes.resources import fake_resources
from tests.fakes.world import PROFILE, World

MODEL = """
name: tiny
source: {hub: owner/tiny, ref: main}
serving: {args: {enable-auto-tool-choice: true, tool-call-parser: hermes}}
rollout: {max_attempts: 2, watch_minutes: 0}
"""


class Desk:
    """Ticks the sensor, launches what it asks for, materializes by hand, reads the records."""

    def __init__(self, world: World, gateways=None, profile=PROFILE, instance=None) -> None:
        self.world = world
        self.engines = Engines(profile, gateways or world.gateways())
        self.resources = fake_resources(lambda: self.engines)
        self.instance = instance or dg.DagsterInstance.ephemeral()
        self.load(ModelFiles((model_with_tools(MODEL, "models/tiny.yaml"),), ()))
        self.verdicts = {asset: [passed(name, "fine") for name in checks] for asset, checks in CHECKS.items()}

    def load(self, files: ModelFiles) -> None:
        """Load the code location anew from these model files."""
        self.spec = files.specs[0]
        self.defs = graph_on(files, self.resources, has_node_pools=self.engines.profile.has_eks_nodes)

    def tick(self):
        """One evaluation of the version sensor; adds the partitions it asks for."""
        repository = self.defs.get_repository_def()
        sensor = repository.get_sensor_def("new_versions")
        with dg.build_sensor_context(self.instance, repository_def=repository, resources=self.resources) as context:
            result = sensor(context)
        if isinstance(result, dg.SkipReason):
            return [], result.skip_message
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return list(result.run_requests or ()), ""

    def run(self, request):
        return self.defs.resolve_job_def(request.job_name).execute_in_process(
            partition_key=request.partition_key,
            tags=request.tags,
            instance=self.instance,
            raise_on_error=False,
        )

    def prove(self):
        """Tick, and run the rollout that it asks for; returns the run's result."""
        (request,), _ = self.tick()
        return self.run(request)

    def roll_out(self):
        """Prove a release, and promote it if the next tick asks for that; returns the result of the rollout's run."""
        result = self.prove()
        for request in self.tick()[0] if result.success else ():
            assert request.job_name == promote_job_name(self.spec)
            self.promotion = self.run(request)
        return result

    def materialize(self, asset, partition):
        return dg.materialize(
            [a for a in self.defs.assets if isinstance(a, dg.AssetsDefinition)],
            selection=[dg.AssetKey(["tiny", asset])],
            partition_key=partition,
            instance=self.instance,
            raise_on_error=False,
            resources=self.defs.resources,
        )

    def record(self, release):
        return self.engines.records().require("tiny", release)

    @property
    def live(self):
        found = self.engines.records().live("tiny")
        return found and found.release

    @property
    def releases(self):
        return self.instance.get_dynamic_partitions(releases_of(self.spec).name)

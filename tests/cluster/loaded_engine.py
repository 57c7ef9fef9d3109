"""An engine on a real node, and a step of Dagster that sends it a load from a pod, with the pipeline's own account."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from genai_pipeline.assets.load_by_pod import sender_of
from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.profile import LoadFrom
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.k8s.load_pod import load_pod_name
from genai_pipeline.k8s.render import package_version, render_platform, render_rbac
from genai_pipeline.loadtest.load_test import ServingReport, measure
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.cluster.identities import kubeconfig_of, kubectl
from tests.cluster.lane import MODEL, REGISTRY, SPEC, release
from tests.cluster.machine.images import Image
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.fakes.store import MemoryStore
from tests.fakes.world import KUBERNETES

PACKAGE = Path(__file__).parents[2] / "genai_pipeline"
PIPELINE_IMAGE = Image(
    f"{REGISTRY}genai-pipeline/pipeline:{package_version()}",
    [],
    {f"/{file.relative_to(PACKAGE.parent)}": file for file in PACKAGE.rglob("*.py")},
)
"""The code of this checkout at the root, where the interpreter looks first, and the packages of the node."""
GATES = ServingGates.model_validate({"at_concurrency": 4, "requests": 32, "ttft_p95_ms": 60_000})
RELEASE = release("a")
POD = load_pod_name(RELEASE)


@dataclass(frozen=True)
class LoadedEngine:
    """An engine that serves in a namespace. `admin` and `kubeconfig` are the administrator's and the pipeline's own."""

    admin: Path
    kubeconfig: Path
    namespace: str

    @contextmanager
    def engines(self, load_from: LoadFrom | None = None) -> Iterator[Engines]:
        cluster = KubernetesCluster(self.namespace, self.kubeconfig, access="proxy")
        gateways = Gateways(
            hub=None,  # type: ignore[arg-type]
            store=MemoryStore(),
            cluster=cluster,
            inference=OpenAIInference,
            agent=None,  # type: ignore[arg-type]
            metrics=EngineMetricsReader(),
        )
        ours = {"namespace": self.namespace, "image_registry": REGISTRY, "load_from": load_from}
        try:
            yield Engines(replace(KUBERNETES, **ours), gateways)
        finally:
            cluster.close()

    def load(
        self,
        say: Log = lambda text: None,
        load_from: LoadFrom | None = None,
        gates: ServingGates = GATES,
    ) -> ServingReport:
        """Measure the engine in a step of a run."""
        found: list[ServingReport] = []

        @dg.asset
        def loaded(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            def session(extras, reader):
                return dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader, extras)

            with self.engines(load_from) as engines:
                url, send = engines.candidates().engine_url(RELEASE), sender_of(session, engines, RELEASE)
                metrics = engines.gateways.metrics
                found.append(measure(url, MODEL, gates, metrics, on_progress=say, send=send))
            return dg.MaterializeResult()

        dg.materialize([loaded])
        return found[-1]

    def load_elsewhere(self) -> Any:
        """The same in a process of its own, as a run is."""
        process = multiprocessing.get_context("forkserver").Process(target=self.load)
        process.start()
        return process

    def pods(self) -> list[str]:
        """The names and phases of the pods that send a load."""
        show = "-o=jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}"
        chosen = ("-n", self.namespace, "-l", "app.kubernetes.io/component=load-test")
        return kubectl(self.admin, "get", "pods", *chosen, show).stdout.split()


@contextmanager
def loaded_engine(cluster: Any, namespace: str, folder: Path) -> Iterator[LoadedEngine]:
    """Everything before the load; all of it ends with the block."""
    cluster.import_image(PIPELINE_IMAGE.write(folder / "pipeline.tar"))
    create_namespace(cluster.kubeconfig, namespace)
    profile = replace(KUBERNETES, namespace=namespace)
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=genai-pipeline", "-f", "-")
    try:
        kubectl(cluster.kubeconfig, *words, given=[*render_rbac(profile), *render_platform(profile)])
        kubeconfig = kubeconfig_of(cluster.kubeconfig, namespace, "genai-pipeline", folder)
        found = LoadedEngine(cluster.kubeconfig, kubeconfig, namespace)
        with found.engines() as engines:
            Candidates(engines.gateways, engines.profile).start_engine(SPEC, RELEASE, lambda _: None)
        yield found
    finally:
        delete_namespace(cluster.kubeconfig, namespace)
        for kind in ("clusterrole", "clusterrolebinding"):
            kubectl(cluster.kubeconfig, "delete", kind, f"genai-pipeline-{namespace}", "--ignore-not-found")

"""One model in a namespace of its own, switched by the pipeline's own engines, in a process that a test may kill.

Without agents the stable one says what its Service's selector names; with them each release has one in a pod.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from genai_pipeline.core.checks import REQUIRED_FOR_LIVE
from genai_pipeline.core.faults import ARMED_BY
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Verdict, passed
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.agent.http_agent import HttpAgent
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.k8s.ray_service import HEAD
from genai_pipeline.k8s.render import PORTS, RELEASE_LABEL, package_version, stable_name
from genai_pipeline.loadtest.probe import ContinuousProbe
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.cutover import CutOver
from genai_pipeline.rollout.switch.traffic import Traffic
from tests.cluster.machine.images import Image
from tests.cluster.machine.node import PYTHON
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.world import PROFILE

MODEL = "tiny"
REGISTRY = "test/"
AGENT_IMAGE = Image(
    f"{REGISTRY}genai-pipeline/strands-agent:{package_version()}",
    [PYTHON, "-I", "-S", "/srv/server.py"],
    {"/srv/server.py": Path(__file__).parents[1] / "fakes" / "agent_server.py"},
)
"""Answers for its release and does nothing else."""
ROLLOUT_DEADLINE_S = 180
"""Of a rollout without the start of its engine."""
KEPT_S = 2
"""The engines' keep-alive time-out: vLLM's own default is 5."""
_FILE = f"""\
name: {MODEL}
source: {{hub: a/b}}
serving:
  image: test/engine:1
  args: {{fault: token_s=0.03, shutdown-timeout: 2}}
  env: {{VLLM_HTTP_TIMEOUT_KEEP_ALIVE: "{KEPT_S}"}}
  resources: {{cpu: 0.05, memory_gib: 0.2}}
  startup_deadline_s: 120
rollout: {{drain_deadline_s: 15, watch_minutes: 0}}
"""
SPEC = model_with_tools(_FILE, f"models/{MODEL}.yaml")


def release(letter: str, spec: ModelSpec = SPEC) -> Release:
    return Release.of(spec, letter.lower() * 40)


class FolderStore(MemoryStore):
    """A bucket that outlives its process; one process at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__({f.name.replace("|", "/"): f.read_bytes() for f in folder.iterdir() if "|" in f.name})
        self._folder = folder

    def _set(self, key: str, body: bytes, etag: str) -> str:
        new = self._folder / "new"
        new.write_bytes(body)
        os.replace(new, self._folder / key.replace("/", "|"))
        return super()._set(key, body, etag)


class SelectedAgent:
    """The agent behind the stable address, if every release's agent is as good as its Service's selector."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster = cluster

    def release(self) -> str | None:
        found = self._cluster.get("Service", stable_name(MODEL, "agent"))
        return found["spec"]["selector"][RELEASE_LABEL] if found else None


class Lane:
    """The engines of rollout/ on one namespace. `folder` is the bucket.

    `specs` are the model files: a release is of the one that names its engine. `redis` is for the heads of Ray,
    `prometheus` what KEDA asks.
    """

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        folder: Path,
        agents: bool = False,
        specs: Sequence[ModelSpec] = (SPEC,),
        redis: str | None = None,
        prometheus: str | None = None,
    ) -> None:
        self.kubeconfig, self.namespace, self.folder, self._agents = kubeconfig, namespace, folder, agents
        self._specs, self._redis, self._prometheus = specs, redis, prometheus
        self.cluster = KubernetesCluster(namespace, kubeconfig, access="direct")
        ours = {"namespace": namespace, "image_registry": REGISTRY, "ray_redis": redis, "prometheus_url": prometheus}
        self.profile: Profile = replace(PROFILE, name="kubernetes", s3_endpoint=None, **ours)
        gateways = Gateways(
            hub=None,  # type: ignore[arg-type]
            store=FolderStore(folder),
            cluster=self.cluster,
            inference=OpenAIInference,
            agent=HttpAgent if agents else (lambda url: SelectedAgent(self.cluster)),  # type: ignore[arg-type,return-value]
            metrics=EngineMetricsReader(),
        )
        self.records = Records(gateways.store)
        self.candidates = Candidates(gateways, self.profile)
        self.traffic = Traffic(gateways, self.profile)
        self.cut_over = CutOver(self.records, self.candidates, self.traffic)

    @property
    def url(self) -> str:
        found = self.traffic.url(MODEL)
        assert found, "nothing is live yet"
        return found

    def spec_of(self, release: Release) -> ModelSpec:
        return next(spec for spec in self._specs if spec.config_hash == release.config_hash)

    def start(self, new: Release) -> None:
        """A candidate that has passed everything."""
        self.candidates.start_engine(self.spec_of(new), new, lambda _: None)
        if self._agents:
            self.candidates.start_agent(self.spec_of(new), new, lambda _: None)
        self.prove(new)

    def prove(self, new: Release) -> None:
        """Its record: every required check passed."""
        self.records.open(self.spec_of(new), new, "opened")
        for name in REQUIRED_FOR_LIVE:
            asset = name.split(".")[0]
            mine = [passed(n.split(".")[1], "fine") for n in REQUIRED_FOR_LIVE if n.startswith(f"{asset}.")]
            self.records.update(MODEL, new.id, lambda r, a=asset, m=mine: r.with_verdicts(a, m, 1))

    def go_live(self, new: Release, spec: ModelSpec | None = None) -> list[Verdict]:
        return self.cut_over.go_live(spec or self.spec_of(new), new, ContinuousProbe, lambda _: None)

    def roll_out(self, new: Release) -> list[Verdict]:
        self.start(new)
        return self.go_live(new)

    def roll_out_elsewhere(self, new: Release, crash_at: str = "") -> int | str:
        """The same in a process of its own, killed at `crash_at`; returns its exit status, or why it failed."""
        words = self.folder / "words"
        words.unlink(missing_ok=True)
        settings = (self._agents, self._specs, self._redis, self._prometheus)
        lane = (self.kubeconfig, self.namespace, self.folder, *settings)
        process = _context().Process(target=_roll_out, args=(lane, new, crash_at))
        process.start()
        deadline_s = ROLLOUT_DEADLINE_S + self.spec_of(new).serving.startup_deadline_s
        process.join(deadline_s)
        if process.exitcode is None:
            process.kill()
            return f"the rollout of {new.id} did not end within {deadline_s} s"
        return words.read_text() if words.exists() else process.exitcode

    def state(self) -> dict[str, Any]:
        """What a rollout leaves behind: in the bucket, of the traffic, of Deployments, of pods that serve."""
        records = Records(FolderStore(self.folder))
        live = records.live(MODEL)
        engines = self.cluster.list("Deployment", {"app.kubernetes.io/component": "engine"})
        on_ray = self.cluster.list("RayService")
        return {
            "traffic": (self.traffic.on(MODEL), self.traffic.on(MODEL, "agent")),
            "live": live and (live.release, live.last_good),
            "phases": {r.release: str(r.phase) for r in records.all(MODEL) if str(r.phase) != "replaced"},
            "replicas": {d["metadata"]["labels"][RELEASE_LABEL]: d["spec"]["replicas"] for d in engines}
            | {r["metadata"]["labels"][RELEASE_LABEL]: 1 for r in on_ray},
            "pods": sorted({self._release_of(pod) for component in PORTS for pod in self._pods_of(component)}),
        }

    def head_releases(self) -> set[str]:
        """The releases that still have a Ray head. A stopped release's head ends a little after its workers."""
        return {self._release_of(pod) for pod in self._pods_of(HEAD)}

    def _pods_of(self, component: str) -> list[dict[str, Any]]:
        return self.cluster.list("Pod", {"app.kubernetes.io/component": component})

    @staticmethod
    def _release_of(pod: dict[str, Any]) -> str:
        return pod["metadata"]["labels"][RELEASE_LABEL]

    @staticmethod
    def wanted(new: Release, old: Release) -> dict[str, Any]:
        """The state after `new` took the traffic of `old`, whatever happened on the way."""
        return {
            "traffic": (new.id, new.id),
            "live": (new.id, old.id),
            "phases": {new.id: "live"},
            # A RayService that is stopped is gone.
            "replicas": {new.id: 1} | ({old.id: 0} if old.engine == "vllm" else {}),
            "pods": [new.id],
        }


def _context() -> ForkServerContext:
    """Children of a process that has imported everything and runs no thread: quick, and safe to kill."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _roll_out(lane: tuple[Any, ...], new: Release, crash_at: str) -> None:
    if crash_at:
        os.environ[ARMED_BY] = crash_at
    folder: Path = lane[2]
    try:
        verdicts = Lane(*lane).roll_out(new)
        wrong = [f"{v.check} {v.outcome}: {v.summary}" for v in verdicts if not v.passed]
    except Exception as error:  # told to the test, which shows it
        wrong = [f"{type(error).__name__}: {error}"]
    if wrong:
        (folder / "words").write_text("\n".join(wrong))

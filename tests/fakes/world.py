"""An in-memory outside world for the whole graph: a hub, a bucket, a cluster, engines and agents.

Faults are set as plain attributes; the calls that matter are recorded.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genai_pipeline.core.compile_cache import Restored
from genai_pipeline.core.errors import (
    AgentUnavailable,
    EngineUnavailable,
    HubUnavailable,
    NotFound,
    NotReady,
    Refused,
    RevisionNotFound,
    UnknownKind,
)
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.agent.abc import AgentAnswer, AgentEndpoint
from genai_pipeline.gateways.cluster.abc import Applied, Cluster, ClusterEvent, Difference, Headroom, Permission, Waited
from genai_pipeline.gateways.cluster.differences import differences
from genai_pipeline.gateways.cluster.pods import is_of_ray_service, pod_groups
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.inference.abc import (
    Answer,
    Completion,
    Embedding,
    Inference,
    PulledCache,
    Score,
    StandbyDoor,
    ToolCall,
)
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics, Sample
from tests.fakes.compiled import CompiledCode
from tests.fakes.standby_door import FakeStandbyDoor, Sleepers
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors

PROFILE = Profile(
    name="local",
    home=Path("/nonexistent"),
    bucket="genai",
    region="us-east-1",
    namespace="genai",
    s3_endpoint=None,
    hub_endpoint=None,
    cluster_endpoint=None,
    weather_url="http://weather",
    prometheus_url=None,
    dagster_url="http://dagster",
)
EKS = replace(PROFILE, name="eks")
KUBERNETES = replace(PROFILE, name="kubernetes")


class FakeHub(Hub):
    """Revisions are dicts of path -> bytes, published under refs."""

    def __init__(self) -> None:
        self.revisions: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}
        self.licence: str | None = "apache-2.0"
        self.down = False

    def publish(self, content: str, ref: str = "main", files: Mapping[str, bytes] | None = None) -> str:
        """Publish a small model whose bytes derive from `content`; returns the revision."""
        revision = hashlib.sha1(content.encode()).hexdigest()
        index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
        self.revisions[revision] = (
            dict(files)
            if files
            else {
                "chat_template.jinja": b"{{ messages }}",
                "config.json": b"{}",
                "model.safetensors.index.json": json.dumps(index).encode(),
                "model-00001-of-00001.safetensors": safetensors(content.encode() * 100),
            }
        )
        self.refs[ref] = revision
        return revision

    def resolve(self, repository: str, ref: str) -> str:
        self._answer()
        if ref in self.refs:
            return self.refs[ref]
        if ref in self.revisions:
            return ref
        raise RevisionNotFound(f"{repository} has no ref {ref}.", f"Known: {', '.join(self.refs)}.")

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        self._answer()
        files = self.revisions[revision]
        listed = tuple(
            SnapshotFile(
                path,
                len(body),
                blob_id=hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest(),
                sha256=hashlib.sha256(body).hexdigest() if path.endswith(".safetensors") else None,
            )
            for path, body in sorted(files.items())
        )
        return Snapshot(repository, revision, listed, self.licence)

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        self._answer()
        yield self.revisions[revision][path][start:end]

    def _answer(self) -> None:
        if self.down:
            raise HubUnavailable("The hub did not answer.", "Try again later.")


class FakeCluster(Cluster):
    """What makes pods is available at once; Services resolve to ``http://<name>``."""

    namespace = "genai"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.not_ready: dict[str, str] = {}
        self.unknown_kinds: set[str] = set()
        self.forbidden: set[str] = set()
        """Permissions that this identity lacks, as `get pods/log`."""
        self.free_memory_gib = 64.0
        self.log: list[str] = []
        self.asleep: set[str] = set()
        """Deployments whose engine turns users away, so that its pod is not ready (`standby_door.py`)."""

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        wanted = (labels or {}).items()
        found = [o for (k, _), o in sorted(self.objects.items()) if k == kind]
        return [o for o in found if wanted <= o["metadata"].get("labels", {}).items()]

    def knows(self, kind: str) -> bool:
        return kind not in self.unknown_kinds

    def may(self, permission: Permission) -> bool:
        return str(permission) not in self.forbidden

    def diff(self, objects: Sequence[Mapping[str, Any]], take_back: bool = False) -> list[Difference]:
        self._refuse_unknown(objects)
        return [d for o in objects for d in self._differences(json.loads(json.dumps(o)))]

    def _refuse_unknown(self, objects: Sequence[Mapping[str, Any]]) -> None:
        for kind in self.unknown_kinds & {o["kind"] for o in objects}:
            raise UnknownKind(f"The cluster does not know {kind}.", "Install the operator that brings it.")

    def _differences(self, wanted: dict[str, Any]) -> list[Difference]:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        live = self.objects.get((kind, name))
        if live is None:
            return [Difference(kind, name, "metadata.name", name, None)]
        if kind == "Deployment":  # whose number somebody else may own
            wanted["spec"].setdefault("replicas", live["spec"]["replicas"])
        return [Difference(kind, name, *found) for found in differences(live, wanted)]

    def events(self, kind: str, name: str) -> list[ClusterEvent]:
        return []

    def logs(self, labels: Mapping[str, str], lines: int = 100) -> str:
        return ""

    def headroom(self) -> Headroom:
        return Headroom(self.free_memory_gib, None, None, "fake")

    def endpoint(self, service: str, port: int | None = None) -> str:
        if ("Service", service) not in self.objects:
            raise NotFound(f"Service {service} does not exist.")
        return f"http://{service}"

    def apply(self, objects: Sequence[Mapping[str, Any]], take_back: bool = False) -> list[Applied]:
        self._refuse_unknown(objects)
        for o in objects:
            name = o["metadata"]["name"]
            before = self.objects.get((o["kind"], name), {"spec": {}})
            self.objects[(o["kind"], name)] = json.loads(json.dumps(o))
            if o["kind"] == "Deployment":  # whose number somebody else may own
                self.objects[(o["kind"], name)]["spec"].setdefault("replicas", before["spec"].get("replicas", 1))
            if o["kind"] == "Secret":  # whose text the API server encodes
                text = o.get("stringData", {})
                self.objects[(o["kind"], name)]["data"] = {k: b64encode(v.encode()).decode() for k, v in text.items()}
            if o["kind"] == "Service":
                self.log.append(f"select {name} -> {o['spec']['selector'].get('genai-pipeline/release')}")
            if o["kind"] == "Deployment":
                self._run(name)
            if o["kind"] == "RayService":
                self._serve(name)
        return [Applied(o["kind"], o["metadata"]["name"], "configured") for o in objects]

    def scale(self, deployment: str, replicas: int) -> None:
        self.log.append(f"scale {deployment} {replicas}")
        self.objects[("Deployment", deployment)]["spec"]["replicas"] = replicas
        if not replicas:
            self.asleep.discard(deployment)
        self._run(deployment)

    def delete(self, kind: str, name: str, deadline_s: float | None = 60) -> None:
        if self.objects.pop((kind, name), None):
            self.log.append(f"delete {kind} {name}")
            if kind == "Deployment":
                self.asleep.discard(name)
            if kind == "RayService":
                for pod in [p for p in self.list("Pod") if is_of_ray_service(p, name)]:
                    del self.objects[("Pod", pod["metadata"]["name"])]

    def wait_ready(
        self,
        name: str,
        deadline_s: float,
        on_progress: Callable[[str], None] = lambda _: None,
        kind: Waited = "Deployment",
    ) -> dict[str, Any]:
        for prefix, diagnosis in self.not_ready.items():
            if name.startswith(prefix):
                raise NotReady(diagnosis)
        if kind == "Deployment" and name in self.asleep:
            raise NotReady(f"{name} has no ready pod: it sleeps.")
        return self.objects[(kind, name)]

    def wait_gone(self, labels: Mapping[str, str], deadline_s: float) -> None:
        return None

    def _run(self, deployment: str) -> None:
        found = self.objects[("Deployment", deployment)]
        found["status"] = {"availableReplicas": 0 if deployment in self.asleep else found["spec"]["replicas"]}

    def turn_away(self, deployment: str, users: bool) -> None:
        """Do what the readiness probe of a pod does once its engine turns users away, or lets them in again."""
        (self.asleep.add if users else self.asleep.discard)(deployment)
        self._run(deployment)

    def _serve(self, service: str) -> None:
        """Do what KubeRay and Ray Serve do of a RayService: pods of each group, and a status."""
        found = self.objects[("RayService", service)]
        found["status"] = ray_status(f"{service}-abcde")
        for group in pod_groups(found):
            labels = group.template["metadata"].get("labels") or {}
            kind = "head" if group.name == "head" else "worker"
            ray = {"ray.io/cluster": f"{service}-abcde", "ray.io/node-type": kind, "ray.io/is-ray-node": "yes"}
            pod = {"kind": "Pod", "metadata": {"name": f"{service}-abcde-{kind}-fghij", "labels": labels | ray}}
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            self.objects[("Pod", pod["metadata"]["name"])] = pod | {"spec": group.template["spec"], "status": ready}


def ray_status(cluster: str, app: str = "RUNNING", message: str = "", **deployments: tuple[str, str]) -> dict[str, Any]:
    """The status of a RayService as KubeRay writes it. `deployments`: name -> status and message."""
    said = {name: {"status": status, "message": text} for name, (status, text) in deployments.items()}
    ready = app == "RUNNING"
    part = {
        "rayClusterName": cluster,
        "applicationStatuses": {"engine": {"status": app, "message": message, "serveDeploymentStatuses": said}},
    }
    return {
        "observedGeneration": 1,
        "numServeEndpoints": int(ready),
        "conditions": [{"type": "Ready", "status": str(ready), "reason": "NonZeroServeEndpoints"}],
        "activeServiceStatus" if ready else "pendingServiceStatus": part,
    }


@dataclass(frozen=True)
class Served:
    """What answers at an address: a release, and the arguments of its process."""

    release: str
    args: list[str]


@dataclass
class World:
    """Everything outside, wired together: engines serve what their objects told them to load."""

    hub: FakeHub = field(default_factory=FakeHub)
    store: MemoryStore = field(default_factory=MemoryStore)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    broken_engines: set[str] = field(default_factory=set)
    broken_at_stable_address: set[str] = field(default_factory=set)
    sleepers: Sleepers = field(default_factory=Sleepers)
    compiled: CompiledCode = field(default_factory=CompiledCode)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """What Prometheus answers, by the name of the series that is asked for. Without any there is no Prometheus."""

    def gateways(self) -> Gateways:
        return Gateways(self.hub, self.store, self.cluster, self.inference, self.agent, FakeMetrics(self))

    def inference(self, url: str) -> Inference:
        return FakeInference(self, url.replace("http://chat-ui/", "http://"))

    def agent(self, url: str) -> AgentEndpoint:
        return FakeAgent(self, url)

    def served_behind(self, url: str) -> Served:
        service = self.cluster.get("Service", url.removeprefix("http://"))
        spec = service["spec"] if service else {"selector": {"no": "service"}}
        selector, all_pods = spec["selector"], spec.get("publishNotReadyAddresses")
        for found in self.cluster.list("Deployment", selector):
            if found["spec"]["replicas"] and (all_pods or found["metadata"]["name"] not in self.cluster.asleep):
                args = found["spec"]["template"]["spec"]["containers"][0].get("args") or []
                return Served(found["metadata"]["labels"]["genai-pipeline/release"], args)
        for pod in self.cluster.list("Pod", selector):
            labels = pod["metadata"]["labels"]
            if by_ray := self.cluster.get("RayService", labels["ray.io/cluster"].removesuffix("-abcde")):
                (app,) = json.loads(by_ray["spec"]["serveConfigV2"])["applications"]
                return Served(labels["genai-pipeline/release"], app["args"]["command"])
        raise EngineUnavailable(f"{url} refused the connection.", "Nothing runs behind it.")

    @contextmanager
    def watch_traffic(self, url: str, model: str, task: Task = Task.CHAT) -> Iterator[FakeWatch]:
        with suppress(EngineUnavailable):
            self.inference(url).ask(task, model)
        yield FakeWatch()


@dataclass
class FakeWatch:
    """What a client at the stable address saw."""

    sent: int = 20
    failed: int = 0

    def see(self, more: int, deadline_s: float) -> bool:
        return True

    def verdict(self) -> Verdict:
        if not self.sent:
            return inconclusive("no_failed_request", "nothing was sent")
        return judge("no_failed_request", not self.failed, f"{self.failed} of {self.sent} failed")


class FakeInference(Inference):
    def __init__(self, world: World, url: str) -> None:
        self.base_url = url
        self._world = world

    def models(self) -> dict[str, str]:
        args = self._served().args
        root = next(a.removeprefix("--model=") for a in args if a.startswith("--model="))
        at = args.index("--served-model-name")
        return dict.fromkeys(args[at + 1 : at + 3], root)

    def chat(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        max_tokens: int = 64,
    ) -> Completion:
        self._refuse_unless(Task.CHAT)
        calls = (ToolCall("get_weather", {"location": "Paris"}),) if tools else ()
        return Completion(model, "" if calls else "Hello!", calls, "stop", 5, 3)

    def ask(self, task: Task, model: str, text: str = "Hello", max_tokens: int = 64) -> Answer:
        if task.generates:
            return self.chat(model, [{"role": "user", "content": text}], max_tokens=max_tokens)
        self._refuse_unless(task)
        return Embedding(model, (0.5, -0.5), 5) if task is Task.EMBED else Score(model, 0.75, 9)

    def standby(self, token: str) -> StandbyDoor:
        return FakeStandbyDoor(self._world, self.base_url, token)

    def restored(self, token: str) -> Restored | None:
        self._served()
        return self._world.compiled.restored

    def pull_compile_cache(self, token: str, sink: Callable[[bytes], object], deadline_s: float) -> PulledCache:
        self._served()
        return self._world.compiled.pull(token, sink)

    def _refuse_unless(self, task: Task) -> None:
        """Refuse what an engine with another runner does not answer."""
        pools = "--runner=pooling" in self._served().args
        if pools is task.generates:
            raise Refused(f"{self.base_url} answered 404: Not Found.", "It serves no such endpoint.")

    def _served(self) -> Served:
        found = self._world.served_behind(self.base_url)
        release, stable = found.release, not self.base_url.endswith(found.release)
        if release in self._world.broken_engines or (stable and release in self._world.broken_at_stable_address):
            raise EngineUnavailable(f"{self.base_url} answered 500: engine dead.", "See `genai logs`.")
        return found


class FakeAgent(AgentEndpoint):
    def __init__(self, world: World, url: str) -> None:
        self.base_url = url
        self._world = world

    def release(self) -> str | None:
        try:
            return self._world.served_behind(self.base_url).release
        except EngineUnavailable as error:
            raise AgentUnavailable(str(error)) from error

    def ask(self, prompt: str) -> AgentAnswer:
        self.release()
        return AgentAnswer("Hello! I can help.")


class FakeMetrics(Metrics):
    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, base_url: str) -> EngineMetrics:
        self._world.served_behind(base_url)
        return EngineMetrics(0.0, 0, 0, 0, 0, 0, {})

    def query(self, promql: str) -> list[Sample]:
        if not self._world.samples:
            return super().query(promql)
        return self._world.samples.get(promql.partition("{")[0], [])

"""An in-memory outside world for the whole graph: a hub, a bucket, a cluster, engines and agents.

Faults are set as plain attributes; the calls that matter are recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import (
    AgentUnavailable,
    EngineUnavailable,
    HubUnavailable,
    NotFound,
    NotReady,
    RevisionNotFound,
)
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.agent.abc import AgentAnswer, AgentEndpoint
from genai_pipeline.gateways.cluster.abc import Applied, Cluster, ClusterEvent, Difference, Headroom
from genai_pipeline.gateways.cluster.differences import differences
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.inference.abc import Completion, Inference, ToolCall
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics
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
    """Deployments are available at once; Services resolve to ``http://<name>``."""

    namespace = "genai"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.not_ready: dict[str, str] = {}
        self.free_memory_gib = 64.0
        self.log: list[str] = []

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        wanted = (labels or {}).items()
        found = [o for (k, _), o in sorted(self.objects.items()) if k == kind]
        return [o for o in found if wanted <= o["metadata"].get("labels", {}).items()]

    def diff(self, objects: Sequence[Mapping[str, Any]], take_back: bool = False) -> list[Difference]:
        return [d for o in objects for d in self._differences(json.loads(json.dumps(o)))]

    def _differences(self, wanted: dict[str, Any]) -> list[Difference]:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        live = self.objects.get((kind, name))
        if live is None:
            return [Difference(kind, name, "metadata.name", name, None)]
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
        for o in objects:
            name = o["metadata"]["name"]
            before = self.objects.get((o["kind"], name), {"spec": {}})
            self.objects[(o["kind"], name)] = json.loads(json.dumps(o))
            if o["kind"] == "Deployment":  # whose number somebody else may own
                self.objects[(o["kind"], name)]["spec"].setdefault("replicas", before["spec"].get("replicas", 1))
            if o["kind"] == "Service":
                self.log.append(f"select {name} -> {o['spec']['selector'].get('genai-pipeline/release')}")
            if o["kind"] == "Deployment":
                self._run(name)
        return [Applied(o["kind"], o["metadata"]["name"], "configured") for o in objects]

    def scale(self, deployment: str, replicas: int) -> None:
        self.log.append(f"scale {deployment} {replicas}")
        self.objects[("Deployment", deployment)]["spec"]["replicas"] = replicas
        self._run(deployment)

    def delete(self, kind: str, name: str, deadline_s: float = 60) -> None:
        if self.objects.pop((kind, name), None):
            self.log.append(f"delete {kind} {name}")

    def wait_ready(
        self, deployment: str, deadline_s: float, on_progress: Callable[[str], None] = lambda _: None
    ) -> dict[str, Any]:
        for prefix, diagnosis in self.not_ready.items():
            if deployment.startswith(prefix):
                raise NotReady(diagnosis)
        return self.objects[("Deployment", deployment)]

    def wait_gone(self, labels: Mapping[str, str], deadline_s: float) -> None:
        return None

    def _run(self, deployment: str) -> None:
        found = self.objects[("Deployment", deployment)]
        found["status"] = {"availableReplicas": found["spec"]["replicas"]}


@dataclass
class World:
    """Everything outside, wired together: engines serve what their Deployment was told to load."""

    hub: FakeHub = field(default_factory=FakeHub)
    store: MemoryStore = field(default_factory=MemoryStore)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    broken_engines: set[str] = field(default_factory=set)
    broken_at_stable_address: set[str] = field(default_factory=set)

    def gateways(self) -> Gateways:
        return Gateways(self.hub, self.store, self.cluster, self.inference, self.agent, FakeMetrics(self))

    def inference(self, url: str) -> Inference:
        return FakeInference(self, url.replace("http://chat-ui/", "http://"))

    def agent(self, url: str) -> AgentEndpoint:
        return FakeAgent(self, url)

    def deployment_behind(self, url: str) -> dict[str, Any]:
        service = self.cluster.get("Service", url.removeprefix("http://"))
        for found in self.cluster.list("Deployment", service["spec"]["selector"] if service else {"no": "service"}):
            if found["spec"]["replicas"]:
                return found
        raise EngineUnavailable(f"{url} refused the connection.", "Nothing runs behind it.")

    @contextmanager
    def watch_traffic(self, url: str, model: str) -> Iterator[FakeWatch]:
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
        deployment = self._world.deployment_behind(self.base_url)
        self._break(deployment)
        args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
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
        self.models()
        calls = (ToolCall("get_weather", {"location": "Paris"}),) if tools else ()
        return Completion(model, "" if calls else "Hello!", calls, "stop", 5, 3)

    def _break(self, deployment: Mapping[str, Any]) -> None:
        release = deployment["metadata"]["labels"]["genai-pipeline/release"]
        stable = not self.base_url.endswith(release)
        if release in self._world.broken_engines or (stable and release in self._world.broken_at_stable_address):
            raise EngineUnavailable(f"{self.base_url} answered 500: engine dead.", "See `genai logs`.")


class FakeAgent(AgentEndpoint):
    def __init__(self, world: World, url: str) -> None:
        self.base_url = url
        self._world = world

    def release(self) -> str | None:
        try:
            return self._world.deployment_behind(self.base_url)["metadata"]["labels"]["genai-pipeline/release"]
        except EngineUnavailable as error:
            raise AgentUnavailable(str(error)) from error

    def ask(self, prompt: str, session_id: str | None = None) -> AgentAnswer:
        return AgentAnswer("Hello! I can help.", session_id or "s1", (), self.release())


class FakeMetrics(Metrics):
    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, base_url: str) -> EngineMetrics:
        self._world.deployment_behind(base_url)
        return EngineMetrics(0.0, 0, 0, 0, 0, 0, {})

"""The whole graph over real processes: a real local cluster, engines that break on request, the real agent.

The hub and the bucket are in memory; the suite of the agent report is replaced, since the engine
here is no language model.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.verdict import passed
from genai_pipeline.evaluation.evaluate import AgentReport
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.agent.http_agent import HttpAgent
from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.local.supervision.supervisor import Supervisor
from tests.defs.desk import Desk
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, World
from tests.integration.cluster.conftest import Daemon

ENGINE = Path(__file__).parents[2] / "fakes" / "openai_server.py"


class EngineDaemon(Daemon):
    """A local cluster that knows the image `test/engine`, and one whose engines may sleep."""

    def spawn(self, **kwargs):
        command = [sys.executable, "-m", "genai_pipeline.local.cluster"]
        engine = [sys.executable, str(ENGINE)]
        sleeping = [*engine, "--middleware=sleeping_engine.SleepMode"]
        images = json.dumps({"test/engine": engine, "test/sleeping-engine": sleeping})
        options = ["--home", str(self.home), "--port", str(self.port), "--backoff", "0.1"]
        return subprocess.Popen([*command, *options], env=os.environ | {"GENAI_LOCAL_IMAGES": images}, **kwargs)


@pytest.fixture(scope="session")
def cluster_daemon(tmp_path_factory):
    daemon = EngineDaemon(tmp_path_factory.mktemp("lc")).start()
    yield daemon
    daemon.stop()
    Supervisor(daemon.home).shutdown()


class RealDesk(Desk):
    """A desk whose cluster, engines and agents are real processes."""

    def __init__(self, cluster: LocalCluster) -> None:
        world = World()
        gateways = Gateways(world.hub, world.store, cluster, OpenAIInference, HttpAgent, EngineMetricsReader())
        profile = replace(
            PROFILE, namespace=cluster.namespace, weather_url="http://127.0.0.1:9", agent_sessions="memory"
        )
        super().__init__(world, gateways, profile)
        self.cluster = cluster

    def serve(self, fault: str = "token_s=0.004", **args: object) -> None:
        """Change the serving section of the model file; the next tick sees another release."""
        serving = {"image": "test/engine:1", "startup_deadline_s": 20, "args": {"fault": fault, **args}}
        gates = {"serving": {"requests": 40, "at_concurrency": 2, "min_tokens_per_s": 1}}
        rollout = {"watch_minutes": 0}
        model = {
            "name": "tiny",
            "source": {"hub": "owner/tiny"},
            "serving": serving,
            "gates": gates,
            "rollout": rollout,
        }
        self.load(ModelFiles((model_with_tools(json.dumps(model), "models/tiny.yaml"),), ()))


@pytest.fixture(scope="module")
def desk(cluster_daemon):
    """One desk for all faults of a module: whatever breaks must leave the live release as it was."""
    namespace = cluster_daemon.world().cluster.namespace
    desk = RealDesk(LocalCluster(cluster_daemon.url, namespace))
    report = AgentReport(
        [passed(check, "fine") for check in CHECKS["agent_report"] if check != "tool_calling"], [{"case": "hello"}], {}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genai_pipeline.evaluation.evaluate.evaluate", lambda *args, **kwargs: report)
        yield desk
    for kind in ("Service", "Deployment"):
        for found in desk.cluster.list(kind):
            desk.cluster.delete(kind, found["metadata"]["name"])


@pytest.fixture(scope="module")
def live(desk):
    """A good release is live; returns its id, which a good rollout of the same module may change."""
    desk.world.hub.publish("v1")
    desk.serve()
    result = desk.roll_out()
    assert result.success, [e.description for e in result.get_asset_check_evaluations() if not e.passed]
    return lambda: desk.live

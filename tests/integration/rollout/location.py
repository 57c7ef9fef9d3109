"""A code location whose runs really run: real sensors, jobs and records, models in folders, a cluster in a file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg

from genai_pipeline.automation import redeploys
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.verdict import passed
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.k8s import agent
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.control import rollout_plan
from tests.fakes.graph import graph_on
from tests.fakes.measuring import replace_engines
from tests.fakes.resources import fake_resources
from tests.fakes.world import PROFILE, FakeCluster, World

VERSION = "PACKAGE_VERSION"
SHARED = ("get", "list", "diff", "endpoint", "apply", "scale", "delete", "wait_ready")


class FileCluster(FakeCluster):
    """The cluster of tests/fakes, in a file that all processes share."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @contextmanager
    def _in_file(self) -> Iterator[None]:
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            self.objects = {(kind, name): found for kind, name, found in json.loads(file.read() or "[]")}
            yield
            file.truncate(0)
            json.dump([[*key, found] for key, found in self.objects.items()], file)


def _shared(name: str) -> Any:
    def call(self: FileCluster, *args: Any, **kwargs: Any) -> Any:
        with self._in_file():
            return getattr(FakeCluster, name)(self, *args, **kwargs)

    return call


for _name in SHARED:
    setattr(FileCluster, _name, _shared(_name))


def engines_of(home: Path, bucket: str, endpoint: str) -> Engines:
    """What the code location and the test both see."""
    world = World(cluster=FileCluster(home / "cluster.json"))
    gateways = replace(world.gateways(), store=S3Store(bucket, S3Settings(endpoint)))
    return Engines(replace(PROFILE, home=home), gateways)


def _speed_up() -> None:
    rollout_plan.BACK_OFF_S = 0.1
    redeploys.TICK_S = 1


def _replace(path: str, by: Any) -> None:
    module, _, name = path.rpartition(".")
    setattr(import_module(module), name, by)


@dg.definitions
def defs() -> dg.Definitions:
    _speed_up()
    home = Path(os.environ["EXACTLY_ONCE_HOME"])
    verdicts = {asset: [passed(name, "fine") for name in checks] for asset, checks in CHECKS.items()}
    replace_engines(_replace, verdicts, World().watch_traffic)
    if os.environ.get(VERSION):
        agent.version = lambda _: os.environ[VERSION]  # type: ignore[assignment]
    engines = engines_of(home, os.environ["EXACTLY_ONCE_BUCKET"], os.environ["AWS_ENDPOINT_URL"])
    graph = graph_on(read_models(home / "models"), fake_resources(lambda: engines), tick_s=1)
    return dg.Definitions.merge(graph, dg.Definitions(executor=dg.in_process_executor))

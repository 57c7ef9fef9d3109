"""How long one look of the version sensor takes, with 100 models of 20 releases each in the store.

    python benchmarks/sensor_tick.py [--models 100] [--releases 20] [--ticks 10] [--out figures.json]

The store is a real SeaweedFS, the hub the embedded one, both processes of their own. The first tick reads everything;
the median is of those that follow, in which nothing has changed. Beside it: what asking the hub alone takes, one
conditional request a model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import dagster as dg
from staging_runs import machine

from genai_pipeline.core.model_file import ModelFiles, parse_model
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Phase, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.record.records import Records
from tests.fakes.graph import graph_on
from tests.fakes.resources import fake_resources
from tests.fakes.world import PROFILE, World

AT_ONCE = 16


def write_hub(folder: Path, models: int) -> None:
    for number in range(models):
        home = folder / "example" / f"model-{number:03}"
        (home / "v1").mkdir(parents=True)
        (home / "v1" / "config.json").write_text(json.dumps({"model": number}))
        (home / "repo.yaml").write_text("{license: mit, refs: {main: v1}, revisions: {v1: {title: one}}}\n")


def specs(models: int) -> tuple[ModelSpec, ...]:
    names = [f"model-{number:03}" for number in range(models)]
    tools = "serving: {args: {enable-auto-tool-choice: true, tool-call-parser: hermes}}\n"
    return tuple(
        parse_model(f"name: {name}\nsource: {{hub: example/{name}}}\n{tools}", f"{name}.yaml") for name in names
    )


def fill(records: Records, store: S3Store, found: tuple[ModelSpec, ...], hub: HuggingFaceHub, releases: int) -> None:
    """The newest release of every model is live; those before it were replaced."""

    def of_model(spec: ModelSpec) -> None:
        revision = hub.resolve(spec.source.address, "main")
        for number in range(1, releases):
            old = Release.of(spec, f"{number:040x}")
            record = records.open(spec, old, "found").in_phase(Phase.REPLACED, "replaced")
            store.put(record_key(spec.name, old.id), record.to_bytes())
        newest = Release.of(spec, revision)
        records.open(spec, newest, "found")
        records.update(spec.name, newest.id, lambda r: r.in_phase(Phase.LIVE))
        records.set_live(newest)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(of_model, found))


def measure(hub_url: str, s3_url: str, models: int, releases: int, ticks: int) -> dict[str, Any]:
    store, hub, found = S3Store(machine.BUCKET, S3Settings(s3_url)), HuggingFaceHub(hub_url), specs(models)
    store.ensure_bucket()
    fill(Records(store), store, found, hub, releases)
    engines = Engines(PROFILE, replace(World().gateways(), store=store, hub=hub))
    resources = fake_resources(lambda: engines)
    defs = graph_on(ModelFiles(found, ()), resources)
    repository, instance = defs.get_repository_def(), dg.DagsterInstance.ephemeral()

    def tick() -> float:
        began = time.perf_counter()
        with dg.build_sensor_context(instance, repository_def=repository, resources=resources) as context:
            result = repository.get_sensor_def("new_versions")(context)
        seconds = time.perf_counter() - began
        asked = [] if isinstance(result, dg.SkipReason) else result.run_requests
        if asked:
            raise SystemExit(f"A model that is live was rolled out again: {asked[0].run_key}")
        return seconds

    first, then = tick(), [tick() for _ in range(ticks)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.perf_counter()
        list(pool.map(lambda spec: hub.resolve(spec.source.address, "main"), found))
        hub_alone = time.perf_counter() - began
    return {"first_s": first, "median_s": statistics.median(then), "worst_s": max(then), "hub_alone_s": hub_alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--releases", type=int, default=20)
    parser.add_argument("--ticks", type=int, default=10)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    args = parser.parse_args()
    os.environ.update(machine.KEYS)
    with tempfile.TemporaryDirectory() as scratch:
        write_hub(Path(scratch) / "hub", args.models)
        with machine.hub(Path(scratch) / "hub") as hub_url, machine.s3(Path(scratch) / "s3") as s3_url:
            figures = measure(hub_url, s3_url, args.models, args.releases, args.ticks)
    figures |= {"models": args.models, "releases": args.releases, "cpus": os.cpu_count()}
    print(
        " ".join(
            f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
        )
    )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

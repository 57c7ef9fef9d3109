"""A code location for the daemon: the real sensor and records, models in folders, no cluster.

What it rolls out is decided by files: a model exists for the sensor once its folder holds weights.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import dagster as dg

from genai_pipeline.core.model_file import read_models
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.control import rollout_plan
from tests.fakes.graph import graph_on
from tests.fakes.resources import fake_resources
from tests.fakes.world import PROFILE, World

rollout_plan.BACK_OFF_S = 0.1


@dg.definitions
def defs() -> dg.Definitions:
    home = Path(os.environ["EXACTLY_ONCE_HOME"])
    store = S3Store(os.environ["EXACTLY_ONCE_BUCKET"], S3Settings(os.environ["AWS_ENDPOINT_URL"]))
    gateways = replace(World().gateways(), store=store)
    return graph_on(
        read_models(home / "models"), fake_resources(lambda: Engines(replace(PROFILE, home=home), gateways)), tick_s=1
    )

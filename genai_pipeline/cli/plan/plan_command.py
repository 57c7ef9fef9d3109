"""`genai plan MODEL`: print what a rollout of a model file would do, without a write."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from genai_pipeline.cli.context import Command, Context

if TYPE_CHECKING:
    from genai_pipeline.core.source_spec import Source
    from genai_pipeline.resources.engines import Engines


def announce(command: Command) -> None:
    plan = command("plan", _plan, "show what a rollout of a model file would do; nothing is written")
    plan.add_argument("model", help="name of a model, or the path of a model file, in the models folder or not")
    plan.add_argument("--json", action="store_true", help="for programs")


def _plan(context: Context) -> int:
    from genai_pipeline.cli.doctor import installed_version
    from genai_pipeline.cli.plan.model_file_section import look_at_file
    from genai_pipeline.cli.plan.model_plan import plan_model
    from genai_pipeline.cli.plan.plan_page import EXIT_CODES
    from genai_pipeline.gateways.dagster_api import DagsterApi

    file = look_at_file(context.args.model, context.models, context.profile.name == "local")
    engines = _engines(context, file.spec.source if file.spec else None)
    runs = DagsterApi(engines.profile.dagster_url).unfinished_runs
    plan = plan_model(file, engines, runs, installed_version, lambda text: print(text, file=sys.stderr))
    if context.args.json:
        sys.stdout.write(json.dumps(plan.to_json(), indent=1, ensure_ascii=False) + "\n")
    else:
        for line in plan.page():
            context.say(line)
    return EXIT_CODES[plan.outcome]


def _engines(context: Context, source: Source | None) -> Engines:
    """Return engines that write nothing. On one machine without services, only the public hub can answer."""
    from genai_pipeline.cli.plan.model_plan import read_only
    from genai_pipeline.core.errors import StoreUnavailable
    from genai_pipeline.core.profile import LOCAL_PORTS
    from genai_pipeline.gateways.hub.huggingface import PUBLIC, HuggingFaceHub
    from genai_pipeline.local.installation import PROJECT
    from genai_pipeline.local.ports import HOST
    from genai_pipeline.local.start import running_services
    from genai_pipeline.local.supervision.supervisor import Supervisor

    engines = context.engines()
    profile = engines.profile
    if profile.name != "local" or running_services(Supervisor(profile.home)):
        return read_only(engines)
    if profile.hub_endpoint is None or profile.has_embedded_hub:
        embedded = source and source.hub and (PROJECT / "demo" / "hub" / source.hub).is_dir()
        hub = HuggingFaceHub(f"http://{HOST}:{LOCAL_PORTS['hub']}" if embedded else PUBLIC)
        engines = replace(engines, gateways=replace(engines.gateways, hub=hub))
    return read_only(engines, StoreUnavailable("No service runs here.", "Run `genai up` to know more."))

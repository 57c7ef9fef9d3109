"""Runs inside the pods of an engine on Ray, as `genai_ray`: vLLM's own server in each replica of Ray Serve.

Names, `root`, tool calls, streams and errors are vLLM's own, because the same command line builds the same app as in
a pod without Ray. Serve's part is the proxy of each pod, the replicas and their number.

    import_path: genai_ray:build
    args: {command: [--model=…, --served-model-name, …], deployment: {max_ongoing_requests: 64, …}}

It needs Ray, vLLM 0.32 or 0.33, and the standard library. The head has no GPU and needs no vLLM, so that replicas
import it late. An annotation brings this file.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from ray import serve
from ray.util.placement_group import PlacementGroup, get_current_placement_group, placement_group_table
from starlette.middleware import Middleware

DEPLOYMENT = "engine"
MIDDLEWARES = (("genai_pipeline_only", "PipelineOnly"), ("genai_leaving", "Leaving"))
"""In the files beside this one, the innermost first."""


def build(args: dict[str, Any]) -> Any:
    """Return the application. `args`: `command`, vLLM's arguments; `deployment`, options of `serve.deployment`."""
    return serve.deployment(name=DEPLOYMENT, **args["deployment"])(Engine).bind(args["command"])


def proxy_middlewares() -> list[Middleware]:
    """Return what each pod's proxy runs around every request, as vLLM's server does without Ray."""
    return [Middleware(getattr(import_module(module), name)) for module, name in MIDDLEWARES]


@serve.ingress()
class Engine:
    """One replica: an engine, and vLLM's app in front of it."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._engine: Any = None
        self._parts = Parts(get_current_placement_group())

    async def __serve_build_asgi_app__(self) -> Any:
        args = parse(self._command)
        self._engine = engine = await start(args)
        tasks = await engine.get_supported_tasks()
        app = vllm("entrypoints.launchers.app").build_app(args, tasks, engine.model_config)
        await vllm("entrypoints.launchers.api_server.app_state").init_app_state(engine, app.state, args, tasks)
        # vLLM's error handler tells its own HTTP server to end. Here `check_health` ends the replica.
        app.state.server = SimpleNamespace()
        return app

    async def check_health(self) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._parts.refuse_lost)  # Ray's state is asked over the network
            await self._engine.check_health()

    def __del__(self) -> None:
        if self._engine is not None:
            self._engine.shutdown(timeout=0)


class Parts:
    """The nodes that hold a replica larger than a node.

    When one of them is lost, vLLM 0.32 waits 300 s for its part, and its own check of health passes meanwhile.
    """

    def __init__(self, group: PlacementGroup | None) -> None:
        self._group = group
        self._nodes = self._now()

    def refuse_lost(self) -> None:
        """Raises: RuntimeError: a part is not where the replica began, so Serve has to replace the replica."""
        now = self._now()
        if now != self._nodes:
            raise RuntimeError(f"This replica has lost a worker. It began on {self._nodes}, and Ray has {now} now.")

    def _now(self) -> dict[int, str]:
        return placement_group_table(self._group)["bundles_to_node_id"] if self._group else {}


def vllm(*modules: str) -> Any:
    """Import the first of these modules that this vLLM has.

    They are strings, because a type checker that follows an import of vLLM reads all of PyTorch, for minutes.
    """
    *newer, last = modules
    for module in newer:
        with suppress(ModuleNotFoundError):
            return import_module(f"vllm.{module}")
    return import_module(f"vllm.{last}")


def parse(command: list[str]) -> Any:
    """Read the command line as `vllm serve` does, its plugins and its refusals included."""
    cli = vllm("entrypoints.common.cli_args", "entrypoints.launchers.cli_args")  # of 0.33, of 0.32
    vllm("entrypoints.common.startup", "entrypoints.serve.utils.api_utils").cli_env_setup()
    try:
        args = cli.make_arg_parser(vllm("utils.argparse_utils").FlexibleArgumentParser()).parse_args(command)
    except SystemExit as error:  # would end the replica without a word in Serve's status
        raise ValueError(f"vLLM refused its command line: {command}. Its log says why.") from error
    cli.validate_parsed_serve_args(args)
    if args.tool_parser_plugin:
        vllm("tool_parsers").ToolParserManager.import_tool_parser(args.tool_parser_plugin)
    if args.reasoning_parser_plugin:
        vllm("reasoning").ReasoningParserManager.import_reasoning_parser(args.reasoning_parser_plugin)
    vllm("entrypoints.launchers.launcher").validate_api_server_args(args)
    return args


async def start(args: Any) -> Any:
    """Start the engine. Its figures go to Ray's port `metrics`, seconds late, and at once to `/metrics` of the app."""
    asked = vllm("engine.arg_utils").AsyncEngineArgs.from_cli_args(args)
    usage = vllm("usage.usage_lib").UsageContext.OPENAI_API_SERVER
    loggers = [vllm("v1.metrics.ray_wrappers").RayPrometheusStatLogger, vllm("v1.metrics.loggers").PrometheusStatLogger]
    engine = vllm("v1.engine.async_llm").AsyncLLM.from_vllm_config(
        vllm_config=asked.create_engine_config(usage_context=usage),
        usage_context=usage,
        stat_loggers=loggers,
        enable_log_requests=asked.enable_log_requests,
        disable_log_stats=asked.disable_log_stats,
    )
    await engine.reset_mm_cache()
    return engine

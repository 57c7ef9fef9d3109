"""Stands in for vLLM 0.33 where `k8s/ray_serving.py` runs on a real Ray without a model: what it imports, no more.

The fake engine answers behind the app, with all its faults. The real package begins to serve in a minute; this one
begins in a second. Pods and `RayNode` have it as `vllm.py`, beside `server.py` and `asgi_engine.py`, in a folder that
comes before the real package.
"""

from __future__ import annotations

import argparse
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from asgi_engine import AsgiEngine  # lies beside it, as does `server`
from server import FakeEngine, Faults
from starlette.applications import Starlette
from starlette.routing import Mount


class AsyncLLM:
    """The fake engine on a port of its own."""

    model_config = None

    def __init__(self, args: argparse.Namespace) -> None:
        faults = Faults.parse(os.environ.get("FAKE_ENGINE_FAULTS", "").split(",") + args.fault)
        if faults.exit_at_start:
            raise ValueError("the fake engine was told to exit at start")
        first, *others = args.served_model_name or [args.model]
        self.fake = FakeEngine(first, args.model, faults, aliases=tuple(others), runner=args.runner).start()

    @classmethod
    def from_vllm_config(cls, vllm_config: argparse.Namespace, **_: Any) -> AsyncLLM:
        return cls(vllm_config)

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return tuple(self.fake.endpoints)

    async def reset_mm_cache(self) -> None: ...

    async def check_health(self) -> None:
        if self.fake.faults.unhealthy or self.fake.stopped.is_set():
            raise RuntimeError("EngineCore encountered an issue.")

    def shutdown(self, timeout: float | None = None) -> None:
        self.fake.stop()


class AsyncEngineArgs:
    """Keeps the parsed arguments: the engine's configuration is the command line itself."""

    enable_log_requests = disable_log_stats = False

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    @classmethod
    def from_cli_args(cls, args: argparse.Namespace) -> AsyncEngineArgs:
        return cls(args)

    def create_engine_config(self, usage_context: Any) -> argparse.Namespace:
        return self.args


class FlexibleArgumentParser(argparse.ArgumentParser):
    """Takes every argument, and ignores those that it does not know: settings of GPUs and the like."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        return self.parse_known_args(args, namespace)[0]


def make_arg_parser(parser: FlexibleArgumentParser) -> FlexibleArgumentParser:
    parser.add_argument("--model", default="model")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--runner", default="auto")
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--tool-parser-plugin", default="")
    parser.add_argument("--reasoning-parser-plugin", default="")
    return parser


def build_app(args: argparse.Namespace, supported_tasks: Any = None, model_config: Any = None) -> Starlette:
    """Return an app whose only route is what `init_app_state` puts behind it."""
    app = Starlette()

    async def pass_on(scope: Any, receive: Any, send: Any) -> None:
        await app.state.behind(scope, receive, send)

    app.routes.append(Mount("/", pass_on))
    return app


async def init_app_state(engine: AsyncLLM, state: Any, args: argparse.Namespace, supported_tasks: Any = None) -> None:
    """Put the engine behind the app, as vLLM does."""
    state.behind = AsgiEngine(engine.fake)


def _nothing(*_: Any) -> None: ...


_ANY = SimpleNamespace()
_MODULES = {
    "engine.arg_utils": {"AsyncEngineArgs": AsyncEngineArgs},
    "entrypoints.launchers.api_server.app_state": {"init_app_state": init_app_state},
    "entrypoints.launchers.app": {"build_app": build_app},
    "entrypoints.common.cli_args": {"make_arg_parser": make_arg_parser, "validate_parsed_serve_args": _nothing},
    "entrypoints.launchers.launcher": {"validate_api_server_args": _nothing},
    "entrypoints.common.startup": {"cli_env_setup": _nothing},
    "reasoning": {"ReasoningParserManager": _ANY},
    "tool_parsers": {"ToolParserManager": _ANY},
    "usage.usage_lib": {"UsageContext": SimpleNamespace(OPENAI_API_SERVER="server")},
    "utils.argparse_utils": {"FlexibleArgumentParser": FlexibleArgumentParser},
    "v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
    "v1.metrics.loggers": {"PrometheusStatLogger": _ANY},
    "v1.metrics.ray_wrappers": {"RayPrometheusStatLogger": _ANY},
}


def _install() -> None:
    """Give each module of the table, and the packages above it, a place in `sys.modules`."""
    for name, content in _MODULES.items():
        path = __name__
        for part in name.split("."):
            path = f"{path}.{part}"
            sys.modules.setdefault(path, ModuleType(path))
        vars(sys.modules[path]).update(content)


_install()

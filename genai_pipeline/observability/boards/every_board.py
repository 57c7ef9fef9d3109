"""All dashboards and the names of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.boards.agent_board import agent_board
from genai_pipeline.observability.boards.engine_board import engine_board
from genai_pipeline.observability.boards.gpu_board import gpu_board
from genai_pipeline.observability.boards.money_board import money_board
from genai_pipeline.observability.boards.panels import to_json
from genai_pipeline.observability.boards.ray_board import ray_board
from genai_pipeline.observability.boards.releases_board import releases_board
from genai_pipeline.observability.boards.service_board import service_board

BOARDS: tuple[Callable[[], Dashboard], ...] = (
    service_board,
    engine_board,
    gpu_board,
    ray_board,
    agent_board,
    releases_board,
    money_board,
)


def written() -> Mapping[str, str]:
    """Return file name -> the text of that dashboard."""
    made = [each() for each in BOARDS]
    return {f"{dashboard.uid}.json": to_json(dashboard) for dashboard in made}

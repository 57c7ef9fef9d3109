"""The whole graph of this repository's model file as text, so that a change of it shows in review.

After a change that is meant: ``python -m tests.defs.graph_snapshot``.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from genai_pipeline.definitions import defs

SNAPSHOT = Path(__file__).with_name("graph_snapshot.txt")


def graph_as_text(loaded: dg.Definitions) -> str:
    """Return a line for each asset, check, job, sensor, schedule and resource."""
    return "\n".join([*sorted(_assets(loaded)), *sorted(_automation(loaded))]) + "\n"


def _assets(loaded: dg.Definitions) -> Iterator[str]:
    graph = loaded.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        kinds, parents = sorted(node.kinds), sorted(parent.to_user_string() for parent in node.parent_keys)
        yield (
            f"asset {key.to_user_string()}: group {node.group_name}, kinds {kinds}, after {parents},"
            f" partitioned {node.is_partitioned}, pools {sorted(node.pools or ())}"
        )
    for check in graph.asset_check_keys:
        yield f"check {check.asset_key.to_user_string()}.{check.name}: blocking {graph.get_check_spec(check).blocking}"


def _automation(loaded: dg.Definitions) -> Iterator[str]:
    repository = loaded.get_repository_def()
    for job in repository.get_all_jobs():
        yield f"job {job.name}: {sorted(_content(job))}, tags {dict(sorted(job.tags.items()))}"
    for sensor in repository.sensor_defs:
        yield f"sensor {sensor.name}: every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}"
    for schedule in repository.schedule_defs:
        when = f"{schedule.cron_schedule} {schedule.execution_timezone}"
        yield f"schedule {schedule.name}: {when}, {schedule.default_status.value}"
    yield f"resources {sorted(loaded.resources or ())}"


def _content(job: dg.JobDefinition) -> Iterator[str]:
    """Yield the assets of a job, or its checks where it has no asset, or its ops."""
    assets = [key.to_user_string() for key in job.asset_layer.selected_asset_keys]
    checks = [f"{key.asset_key.to_user_string()}.{key.name}" for key in job.asset_layer.asset_graph.asset_check_keys]
    yield from assets or checks or [node.name for node in job.nodes]


if __name__ == "__main__":
    SNAPSHOT.write_text(graph_as_text(defs()))

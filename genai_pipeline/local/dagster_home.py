"""DAGSTER_HOME of the local profile: its settings, its workspace, its SQLite files."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from genai_pipeline.core.run_tags import ROLLOUT_TAG

SETTINGS = Path(__file__).with_name("dagster.yaml")


def prepare_dagster_home(home: Path, code_socket: Path, max_rollouts: int) -> None:
    """Write the settings and make the storage, before anything of Dagster's starts.

    Dagster makes its SQLite files when it first opens them. Several processes doing so at once leave
    a schema with two heads, which no later start recovers from.

    Args:
        max_rollouts: how many rollouts, of all models, Dagster lets run at once.
    """
    home.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_load(SETTINGS.read_text())
    settings["concurrency"]["runs"]["tag_concurrency_limits"] = [{"key": ROLLOUT_TAG, "limit": max_rollouts}]
    (home / SETTINGS.name).write_text(yaml.safe_dump(settings))
    (home / "workspace.yaml").write_text(
        f"load_from:\n  - grpc_server: {{socket: {code_socket}, location_name: genai_pipeline}}\n"
    )
    if not (home / "history").exists():
        _make_storage(home)


def _make_storage(home: Path) -> None:
    """Make the storage aside, then move it into place. Killed half-way, the next start makes it again."""
    from dagster import DagsterInstance  # two seconds, paid once

    aside = home / "new"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    shutil.copyfile(SETTINGS, aside / SETTINGS.name)
    with DagsterInstance.from_config(str(aside)) as instance:
        instance.get_runs_count()
        instance.all_instigator_state()
        instance.get_asset_keys()
    shutil.rmtree(home / "schedules", ignore_errors=True)
    (aside / "schedules").rename(home / "schedules")
    (aside / "history").rename(home / "history")
    shutil.rmtree(aside, ignore_errors=True)

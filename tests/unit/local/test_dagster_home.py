import dagster as dg
import pytest

from genai_pipeline.core.run_tags import ROLLOUT_TAG
from genai_pipeline.local.dagster_home import prepare_dagster_home


@pytest.fixture
def home(tmp_path):
    prepare_dagster_home(tmp_path, tmp_path / "code.sock", max_rollouts=3)
    return tmp_path


def test_the_storage_is_made_before_anything_opens_it(home):
    assert (home / "history" / "runs.db").exists()
    assert (home / "history" / "runs" / "index.db").exists()
    assert (home / "schedules" / "schedules.db").exists()
    assert str(home / "code.sock") in (home / "workspace.yaml").read_text()


def test_no_more_rollouts_run_than_the_setting_says(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        limits = instance.get_concurrency_config().run_queue_config.tag_concurrency_limits

    assert limits == [{"key": ROLLOUT_TAG, "limit": 3}]


def test_existing_storage_is_kept(home):
    kept = home / "history" / "kept"
    kept.touch()

    prepare_dagster_home(home, home / "code.sock", max_rollouts=3)

    assert kept.exists()


def test_a_preparation_killed_half_way_is_made_again(tmp_path):
    (tmp_path / "new" / "history").mkdir(parents=True)
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "schedules.db").write_text("half a file")

    prepare_dagster_home(tmp_path, tmp_path / "code.sock", max_rollouts=3)

    assert (tmp_path / "schedules" / "schedules.db").read_bytes().startswith(b"SQLite format 3")
    assert not (tmp_path / "new").exists()

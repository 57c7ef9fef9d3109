"""What `genai down` does about the rollouts that it ends."""

from genai_pipeline.core.release import Release
from genai_pipeline.gateways.dagster_api import Run
from genai_pipeline.local.stop import give_back_attempt
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore


def test_a_rollout_that_was_stopped_by_hand_keeps_its_attempts():
    records, spec = Records(MemoryStore()), model_with_tools("name: tiny\nsource: {hub: a/b}\n")
    release = Release.of(spec, "a" * 40)
    records.open(spec, release, "new")
    records.update(spec.name, release.id, lambda record: record.attempted())
    run = Run("1", "rollout_tiny", "STARTED", 0.0, None, spec.name, release.id, (), attempt=1)

    give_back_attempt(records, run)
    give_back_attempt(records, run)

    record = records.require(spec.name, release.id)
    assert (record.attempt, record.attempts) == (1, 0)

import json
from pathlib import Path

import pytest

from genai_pipeline.core.errors import Unreadable
from genai_pipeline.core.facts import Deployed, Facts, NotedDrift
from genai_pipeline.core.record import Phase, Record, read, record_key

STORED = Path(__file__).with_name("stored") / "record-0.1.json"
"""A record as version 0.1.0 wrote it, with every section, and with one that no version knows."""
KEY = record_key("tiny", "aaaaaaaaaaaa-fbe725")


@pytest.fixture
def old():
    return read(Record, KEY, STORED.read_bytes())


def test_a_record_of_an_older_version_is_read_with_all_its_sections(old):
    facts = old.facts

    assert old.phase is Phase.ROLLED_BACK
    assert facts.strategy == "recreate"
    assert facts.serving.ttft_p95_ms == 60.0
    assert (facts.agent.solved, facts.agent.cases, facts.agent.unsolved) == (18, 20, ("paris",))
    assert facts.tool_calling.solved == 29
    assert (facts.deployed.version, facts.deployed.agent["image"]) == ("0.1.0", "a:1")
    assert facts.drift.fingerprint == "cd"
    assert (facts.redeploy.attempts, facts.redeploy.failed, facts.redeploys) == (2, True, 3)
    assert (facts.watch.looks, facts.watch.canary_s, facts.watch.until) == (23, 0.4, "2026-01-01T00:30:00Z")
    assert facts.breached == "2026-01-01T00:00:00Z"
    assert (facts.rollback.to, facts.rollback.by) == ("bbbbbbbbbbbb-fbe725", "ada")
    assert facts.finishing.runs == 2
    assert facts.evaluated_again.outcome == "failed"


def test_what_another_version_added_survives_a_change(old):
    changed = json.loads(old.with_facts(Facts(drift=None, strategy="blue_green")).to_bytes())

    before = json.loads(STORED.read_bytes())
    assert changed["facts"] == before["facts"] | {"drift": None, "strategy": "blue_green"}
    assert changed["facts"]["added_by_a_newer_version"] == {"figure": 1}
    assert changed["facts"]["agent"]["pass_rate"] == 0.9474


def test_a_record_that_is_written_again_is_the_same(old):
    assert json.loads(old.to_bytes()) == json.loads(STORED.read_bytes())
    assert read(Record, KEY, old.to_bytes()) == old


def test_a_change_replaces_only_the_sections_that_it_names():
    drift = NotedDrift(fingerprint="cd", reason="drift: replicas")
    facts = Facts(strategy="recreate", drift=drift, deployed=Deployed(version="1", fingerprint="ab"))

    changed = facts.updated(Facts(deployed=None))

    assert (changed.strategy, changed.drift, changed.deployed) == ("recreate", drift, None)
    assert facts.updated(Facts()) == facts


@pytest.mark.parametrize(
    "facts", [{"watch": []}, {"rollback": {}}, {"finishing": {"runs": "many", "at": ""}}, {"redeploys": None}], ids=str
)
def test_a_section_of_another_kind_makes_the_record_unreadable(facts):
    body = json.dumps(json.loads(STORED.read_bytes()) | {"facts": facts}).encode()

    with pytest.raises(Unreadable, match=KEY):
        read(Record, KEY, body)

import json
from dataclasses import replace

import pytest

from genai_pipeline.core.checks import ADDED_LATER, REQUIRED_FOR_LIVE
from genai_pipeline.core.errors import Unreadable
from genai_pipeline.core.record import Live, Phase, Record, read
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome, Verdict, failed, inconclusive, passed, worst
from tests.fakes.model_texts import model_with_tools

GATES = "gates: {agent: {tool_calling_min: 0.9}}"
GPU = "serving: {gpu: {instance-family: g6e, count: 1, reservation: optional}}"
SPEC = model_with_tools(f"name: tiny\nsource: {{hub: a/b}}\n{GPU}\n{GATES}\n", "tiny.yaml")
"""One to which every check applies."""
REVISION = "0123456789abcdef0123456789abcdef01234567"


def all_passed() -> Record:
    release = Release.of(SPEC, REVISION)
    verdicts = {name: passed(name.split(".")[1], "fine") for name in REQUIRED_FOR_LIVE}
    return Record("tiny", release.id, REVISION, SPEC.model_dump(mode="json"), verdicts=verdicts)


def test_the_same_revision_and_serving_section_are_the_same_release():
    assert Release.of(SPEC, REVISION) == Release.of(SPEC.model_copy(), REVISION)


def test_a_changed_serving_section_is_another_release_and_a_changed_gate_is_not():
    other = model_with_tools("name: tiny\nsource: {hub: a/b}\nserving: {args: {max-model-len: 1}}\n", "f")
    gates = model_with_tools(
        f"name: tiny\nsource: {{hub: a/b}}\n{GPU}\ngates: {{agent: {{task_success_min: 0.1}}}}\n", "f"
    )

    assert Release.of(other, REVISION).id != Release.of(SPEC, REVISION).id
    assert Release.of(gates, REVISION).id == Release.of(SPEC, REVISION).id


def test_object_names_fit_kubernetes_at_the_longest_model_name():
    spec = model_with_tools(f"name: {'m' * 30}\nsource: {{hub: a/b}}\n", "f")

    assert len(Release.of(spec, REVISION).agent_object_name) <= 63


def test_a_record_that_is_all_passed_may_go_live():
    assert all_passed().may_go_live


@pytest.mark.parametrize("name", REQUIRED_FOR_LIVE)
@pytest.mark.parametrize("make", [failed, inconclusive])
def test_one_verdict_that_is_not_passed_bars_the_release(name, make):
    record = all_passed()
    record = replace(record, verdicts={**record.verdicts, name: make(name, "no")})

    assert not record.may_go_live
    assert list(record.not_passed) == [name]


@pytest.mark.parametrize("name", REQUIRED_FOR_LIVE)
def test_one_verdict_never_given_bars_the_release(name):
    record = all_passed()
    record = replace(record, verdicts={k: v for k, v in record.verdicts.items() if k != name})

    assert not record.may_go_live
    assert record.missing == (name,)


def test_a_record_survives_its_json():
    record = all_passed().with_event("2026-01-01T00:00:00Z", "made").in_phase(Phase.REJECTED, "São Paulo")

    assert Record.from_bytes(record.to_bytes()) == record


def from_before(record: Record) -> Record:
    """As it was stored by the code that knew neither the later checks nor generations."""
    data = json.loads(record.to_bytes())
    del data["generation"]
    data["verdicts"] = {name: v for name, v in data["verdicts"].items() if name not in ADDED_LATER}
    return Record.from_bytes(json.dumps(data).encode())


def test_a_record_from_before_a_check_existed_may_go_live_without_it():
    old = from_before(all_passed())

    assert ADDED_LATER
    assert old.may_go_live
    assert Record.from_bytes(old.to_bytes()).may_go_live
    assert not replace(old, verdicts={k: v for k, v in old.verdicts.items() if "latency" not in k}).may_go_live


@pytest.mark.parametrize("name", ADDED_LATER)
def test_a_later_check_that_was_given_counts_in_an_old_record_and_is_required_once_it_is_proven_again(name):
    old = from_before(all_passed())

    assert not replace(old, verdicts={**old.verdicts, name: failed(name, "worse")}).may_go_live
    assert set(replace(old.reopened(), verdicts=old.verdicts).missing) == set(ADDED_LATER)


def test_verdicts_of_an_asset_replace_its_former_ones_and_no_others():
    record = all_passed().with_verdicts("agent_report", [failed("task_success", "0.2")], 1.0)

    assert record.outcome_of("agent_report") is Outcome.FAILED
    assert "agent_report.latency" in record.missing
    assert record.outcome_of("serving_report") is Outcome.PASSED


def test_reopening_forgets_what_was_proven_and_keeps_counting_attempts():
    record = all_passed().attempted().attempted().in_phase(Phase.REPLACED).reopened().attempted()

    assert (record.attempt, record.attempts, record.may_go_live) == (3, 1, False)


def test_the_worst_outcome_decides_and_nothing_measured_is_inconclusive():
    assert worst([Outcome.PASSED, Outcome.INCONCLUSIVE]) is Outcome.INCONCLUSIVE
    assert worst([Outcome.FAILED, Outcome.INCONCLUSIVE]) is Outcome.FAILED
    assert worst([]) is Outcome.INCONCLUSIVE


def test_a_verdict_survives_its_json():
    verdict = Verdict("x", Outcome.INCONCLUSIVE, "why", {"rows": [{"a": 1}]})

    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize(
    "change",
    [
        {"release": 5},
        {"attempt": "2"},
        {"facts": None},
        {"facts": []},
        {"timings": None},
        {"history": [{"at": 5, "what": "made"}]},
        {"history": [{"at": "yesterday", "what": "made"}]},
        {"history": [{"at": "2026-01-01T00:00:00", "what": "made"}]},
    ],
    ids=str,
)
def test_a_record_that_holds_other_kinds_of_values_is_unreadable(change):
    data = json.loads(all_passed().to_bytes()) | change

    with pytest.raises(Unreadable, match=r"releases/tiny/x\.json cannot be read"):
        read(Record, "releases/tiny/x.json", json.dumps(data).encode())


@pytest.mark.parametrize("change", [{"release": None}, {"last_good": 5}, {"unknown": "x"}, {"watched_until": "soon"}])
def test_a_live_pointer_that_holds_other_kinds_of_values_is_unreadable(change):
    data = json.loads(Live("a-1", "a", "2026-01-01T00:00:00Z").to_bytes()) | change

    with pytest.raises(Unreadable, match=r"live\.json cannot be read"):
        read(Live, "releases/tiny/live.json", json.dumps(data).encode())


@pytest.mark.parametrize("spec", [{"nonsense": 1}, None, []])
def test_a_record_whose_model_file_is_of_a_newer_version_is_unreadable_as_such(spec):
    record = replace(all_passed(), spec=spec)

    with pytest.raises(Unreadable, match=f"{record.release}.json cannot be read"):
        _ = record.as_release

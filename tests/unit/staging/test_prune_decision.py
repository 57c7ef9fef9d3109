"""Which staged revisions go and which stay, and why."""

import pytest

from genai_pipeline.staging.prune_decision import Fate, Reference, References, StagedRevision, decide

DAY = 86400.0
NOW = 100 * DAY
GRACE = 7 * DAY
OLD = NOW - 30 * DAY
REVISION = "a" * 40


def staged(**changes):
    given = {"objects": 3, "size_bytes": 10, "newest_at": OLD, "complete": True, "unclear": ""}
    return StagedRevision("tiny", REVISION, **(given | changes))


def fate(one, *references, unclear=None, grace=GRACE):
    (decision,) = decide([one], References(references, unclear or {}), NOW, grace)
    return decision.fate, decision.why


def test_what_nothing_refers_to_goes_once_the_grace_time_is_over():
    assert fate(staged()) == (Fate.DELETE, "nothing refers to it; it was staged 30 days ago")
    assert fate(staged(newest_at=NOW - 6 * DAY)) == (
        Fate.KEEP,
        "it was staged 6 days ago, within the grace time of 7 days",
    )


def test_an_unfinished_staging_goes_like_a_whole_one():
    assert fate(staged(complete=False))[0] is Fate.DELETE
    kept, why = fate(staged(complete=False, newest_at=NOW - DAY))
    assert kept is Fate.KEEP
    assert "unfinished 24 h ago" in why


@pytest.mark.parametrize("revision", [REVISION, REVISION[:12], ""])
@pytest.mark.parametrize("model", ["tiny", ""])
def test_a_reference_by_whole_revision_by_its_beginning_or_to_all_of_the_model_keeps(model, revision):
    assert fate(staged(), Reference(model, revision, "it is live")) == (Fate.KEEP, "it is live")


@pytest.mark.parametrize("other", [Reference("other", REVISION, "x"), Reference("tiny", "b" * 12, "x")])
def test_a_reference_to_another_model_or_revision_keeps_nothing(other):
    assert fate(staged(), other)[0] is Fate.DELETE


def test_a_release_that_ended_keeps_its_revision_for_the_grace_time_after_its_end():
    ended = Reference("tiny", REVISION, "r1 was rejected", ended_at=NOW - 2 * DAY)
    assert fate(staged(), ended) == (Fate.KEEP, "r1 was rejected 2 days ago, within the grace time of 7 days")
    long_ago = Reference("tiny", REVISION, "r1 was rejected", ended_at=NOW - 8 * DAY)
    assert fate(staged(), long_ago) == (Fate.DELETE, "nothing refers to it; r1 was rejected 8 days ago")


def test_one_release_that_needs_it_outweighs_all_that_ended():
    ended = Reference("tiny", REVISION, "r1 was replaced", ended_at=OLD)
    assert fate(staged(), ended, Reference("tiny", REVISION, "r2 is live"))[0] is Fate.KEEP


@pytest.mark.parametrize(
    ("one", "references", "unclear"),
    [
        (staged(unclear="its manifest cannot be read"), (), {}),
        (staged(), (Reference("tiny", REVISION[:12], "its record cannot be read", unclear=True),), {}),
        (staged(), (), {"tiny": "the hub did not answer"}),
        (staged(), (Reference("tiny", REVISION, "r1 was rejected", ended_at=OLD),), {"tiny": "no live pointer"}),
    ],
)
def test_what_is_unclear_is_kept_and_says_why(one, references, unclear):
    found, why = fate(one, *references, unclear=unclear, grace=0)
    assert found is Fate.UNCLEAR
    assert why in (one.unclear, *(r.why for r in references), *unclear.values())


def test_without_a_grace_time_what_was_staged_just_now_goes_too():
    assert fate(staged(newest_at=NOW), grace=0)[0] is Fate.DELETE
    ahead = staged(newest_at=NOW + 5)  # the store's clock is ahead of ours
    assert fate(ahead, grace=0)[0] is Fate.DELETE
    assert fate(ahead)[0] is Fate.KEEP

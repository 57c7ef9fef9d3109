"""Replicas that take, commit, die, come back late and lose answers, in random order: one history is what counts."""

import random
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.agent.sessions.errors import Busy, Conflict, NoSession, TakenOver
from genai_pipeline.agent.sessions.heads import FileHeads
from genai_pipeline.agent.sessions.ledger import Held, Ledger
from genai_pipeline.agent.sessions.messages import FileRepository, Messages

ID, LEASE_S, TTL_S = "a-session-of-my-own", 10.0, 100.0
STEPS = 200
STEP_NAMES = ["take"] * 4 + ["commit"] * 4 + ["wait"] * 2 + ["release", "renew", "crash", "delete"]


class UnsureHeads(FileHeads):
    """Loses answers: the write happened, and the client's second try meets it."""

    lose = False

    def write(self, session_id: str, body: bytes, tag: str | None) -> str:
        written = super().write(session_id, body, tag)
        self.loses(session_id)
        return written

    def remove(self, session_id: str, tag: str) -> None:
        super().remove(session_id, tag)
        self.loses(session_id)

    def loses(self, session_id: str) -> None:
        if self.lose:
            self.lose = False
            raise Conflict(session_id)


class World:
    """Three replicas and what must be true: the turns that were committed since the session began."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random, self.now, self.turns, self.number = random.Random(seed), 1_000_000.0, list[str](), 0
        self.heads = [UnsureHeads(folder) for _ in range(3)]
        self.messages = Messages(FileRepository(folder))
        self.ledgers = [
            Ledger(heads, self.messages, f"replica-{i}", TTL_S, LEASE_S, lambda: self.now)
            for i, heads in enumerate(self.heads)
        ]
        self.held: list[Held | None] = [None] * 3
        self.seen: list[Held | None] = [None] * 3
        self.used_at = self.now

    def step(self) -> None:
        i = self.random.randrange(3)
        self.heads[i].lose = self.random.random() < 0.3
        name = self.random.choice(STEP_NAMES)
        getattr(self, name)(i)
        self.heads[i].lose = False

    def take(self, i: int) -> None:
        if self.held[i]:
            return
        try:
            held = self.ledgers[i].take(ID, "", self.random.choice([None, self.seen[i]]))
        except Busy:
            return
        if self.expired():
            self.turns = []
        assert self.told(held) == self.turns
        self.held[i] = held
        if not self.turns:
            self.used_at = self.now

    def commit(self, i: int) -> None:
        if (held := self.held[i]) is None:
            return
        self.held[i], self.number = None, self.number + 1
        said = f"turn {self.number}"
        messages = [{"role": "user", "content": [{"text": said}]}] * self.random.choice([1, 2, 4])
        try:
            self.seen[i] = self.ledgers[i].commit(held, messages, 10, (), 0)
        except TakenOver:
            self.seen[i] = None
            return
        before = self.told(held)
        assert self.expired() or before == self.turns  # a turn that began in time is in time
        self.turns, self.used_at = [*before, said], self.now

    def release(self, i: int) -> None:
        if (held := self.held[i]) is not None:
            self.held[i] = None
            try:
                self.seen[i] = self.ledgers[i].release(held)
            except TakenOver:
                self.seen[i] = None

    def renew(self, i: int) -> None:
        if (held := self.held[i]) is not None:
            try:
                self.held[i] = self.ledgers[i].renew(held)
            except TakenOver:
                self.held[i] = self.seen[i] = None

    def crash(self, i: int) -> None:
        """It wrote some messages, and forgets all it knew."""
        if (held := self.held[i]) is not None:
            self.messages.write(ID, held.head.epoch * 1000, [{"role": "user", "content": [{"text": "lost"}]}], True)
        self.held[i] = self.seen[i] = None

    def wait(self, i: int) -> None:
        self.now += self.random.choice([0.5, 3.0, LEASE_S + 0.1, *([TTL_S + 1] if self.random.random() < 0.2 else [])])

    def delete(self, i: int) -> None:
        if self.random.random() < 0.3 and (held := self.held[i]) is not None:
            self.held[i] = self.seen[i] = None
            try:
                self.ledgers[i].delete(held)
            except TakenOver:
                return
            self.turns = []

    def told(self, held: Held) -> list[str]:
        """What each turn of a record says, as its messages have it."""
        return [self.messages.read(held.session_id, [kept.first])[0]["content"][0]["text"] for kept in held.head.turns]

    def expired(self) -> bool:
        return self.now > self.used_at + TTL_S

    def check(self) -> None:
        if self.expired():
            return
        try:
            told = self.told(self.ledgers[0].look(ID, ""))
        except NoSession:
            told = []
        assert told == self.turns


@pytest.mark.parametrize("seed", range(12))
def test_what_counts_is_what_was_committed_whatever_replicas_do(tmp_path: Path, seed: int, monkeypatch: Any):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    world = World(tmp_path, seed)
    for _ in range(STEPS):
        world.step()
        world.check()
    assert world.number > 1


SAID: list[Any] = [{"role": "user", "content": [{"text": "Hello"}]}]


@pytest.fixture
def two(tmp_path: Path) -> World:
    return World(tmp_path, 0)


def test_a_commit_reads_again_before_it_writes_where_a_renewal_came_between(two: World):
    mine, _, _ = two.ledgers
    held = mine.take(ID, "", None)
    two.now += LEASE_S / 3
    mine.renew(held)  # whoever commits does not know of it: its answer came late, or never

    committed = mine.commit(held, SAID, 10, (), 0)

    assert two.told(mine.look(ID, "")) == ["Hello"]
    assert committed.head.holder == ""


def test_a_commit_does_not_write_over_a_lease_that_another_replica_took(two: World):
    mine, other, _ = two.ledgers
    held = mine.take(ID, "", None)
    two.now += LEASE_S + 0.1
    theirs = other.take(ID, "", None)

    with pytest.raises(TakenOver):
        mine.commit(held, SAID, 10, (), 0)

    assert other.commit(theirs, SAID, 10, (), 0).head.turns[0].first == theirs.head.epoch * 1000


def test_a_commit_counts_where_its_answer_was_lost_and_another_replica_goes_on_already(
    two: World, monkeypatch: pytest.MonkeyPatch
):
    mine, other, _ = two.ledgers
    held = mine.take(ID, "", None)
    written = two.heads[0].write

    def lost(session_id: str, body: bytes, tag: str | None) -> str:
        monkeypatch.setattr(two.heads[0], "write", written)
        written(session_id, body, tag)
        other.take(ID, "", None)
        raise Conflict(session_id)

    monkeypatch.setattr(two.heads[0], "write", lost)

    committed = mine.commit(held, SAID, 10, (), 0)

    assert two.told(committed) == ["Hello"]
    assert committed.head.holder == "replica-1"


def test_a_copy_that_is_out_of_date_is_read_again(two: World):
    mine, other, _ = two.ledgers
    seen = mine.commit(mine.take(ID, "", None), SAID, 10, (), 0)
    other.commit(other.take(ID, "", None), SAID, 10, (), 0)

    assert two.told(mine.take(ID, "", seen)) == ["Hello", "Hello"]

"""Replicas that take, commit, die, come back late and lose answers, in random order: one history is what counts."""

import random
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.agent.sessions.leases import SessionLeases, SessionVersion
from genai_pipeline.agent.sessions.session_errors import Busy, Conflict, NoSession, TakenOver
from genai_pipeline.agent.sessions.session_record import SessionRecord, StoredTurn
from genai_pipeline.agent.sessions.session_store import FolderSessionStore

ID, LEASE_S, TTL_S = "a-session-of-my-own", 10.0, 100.0
STEPS = 200
STEP_NAMES = ["take"] * 4 + ["commit"] * 4 + ["wait"] * 2 + ["release", "renew", "crash", "delete"]


class UnsureStore(FolderSessionStore):
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
        self.stores = [UnsureStore(folder) for _ in range(3)]
        self.replicas = [
            SessionLeases(store, f"replica-{i}", TTL_S, LEASE_S, lambda: self.now)
            for i, store in enumerate(self.stores)
        ]
        self.held: list[SessionVersion | None] = [None] * 3
        self.seen: list[SessionVersion | None] = [None] * 3
        self.used_at = self.now

    def step(self) -> None:
        i = self.random.randrange(3)
        self.stores[i].lose = self.random.random() < 0.3
        name = self.random.choice(STEP_NAMES)
        getattr(self, name)(i)
        self.stores[i].lose = False

    def take(self, i: int) -> None:
        if self.held[i]:
            return
        try:
            held = self.replicas[i].take(ID, "", self.random.choice([None, self.seen[i]]))
        except Busy:
            return
        if self.expired():
            self.turns = []
        assert prompts(held.record) == self.turns
        self.held[i] = held
        if not self.turns:
            self.used_at = self.now

    def commit(self, i: int) -> None:
        if (held := self.held[i]) is None:
            return
        self.held[i], self.number = None, self.number + 1
        said = f"turn {self.number}"
        try:
            self.seen[i] = self.replicas[i].commit(held, turn(said, self.now), 0)
        except TakenOver:
            self.seen[i] = None
            return
        before = prompts(held.record)
        assert self.expired() or before == self.turns  # a turn that began in time is in time
        self.turns, self.used_at = [*before, said], self.now

    def release(self, i: int) -> None:
        if (held := self.held[i]) is not None:
            self.held[i] = None
            try:
                self.seen[i] = self.replicas[i].release(held)
            except TakenOver:
                self.seen[i] = None

    def renew(self, i: int) -> None:
        if (held := self.held[i]) is not None:
            try:
                self.held[i] = self.replicas[i].renew(held)
            except TakenOver:
                self.held[i] = self.seen[i] = None

    def crash(self, i: int) -> None:
        """It forgets all it knew."""
        self.held[i] = self.seen[i] = None

    def wait(self, i: int) -> None:
        rarely = [TTL_S + 1] if self.random.random() < 0.2 else []
        self.now += self.random.choice([0.5, 3.0, LEASE_S + 0.1, *rarely])

    def delete(self, i: int) -> None:
        if self.random.random() < 0.3 and (held := self.held[i]) is not None:
            self.held[i] = self.seen[i] = None
            try:
                self.replicas[i].delete(held)
            except TakenOver:
                return
            self.turns = []

    def expired(self) -> bool:
        return self.now > self.used_at + TTL_S

    def check(self) -> None:
        if self.expired():
            return
        try:
            found = prompts(self.replicas[0].look(ID, ""))
        except NoSession:
            found = []
        assert found == self.turns


def turn(said: str, at: float) -> StoredTurn:
    return StoredTurn(at, [{"role": "user", "content": [{"text": said}]}], 10)


def prompts(record: SessionRecord) -> list[str]:
    return [stored.messages[0]["content"][0]["text"] for stored in record.turns]


@pytest.mark.parametrize("seed", range(12))
def test_what_counts_is_what_was_committed_whatever_replicas_do(tmp_path: Path, seed: int, monkeypatch: Any):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    world = World(tmp_path, seed)
    for _ in range(STEPS):
        world.step()
        world.check()
    assert world.number > 1


@pytest.fixture
def two(tmp_path: Path) -> World:
    return World(tmp_path, 0)


def test_a_commit_reads_again_before_it_writes_where_a_renewal_came_between(two: World):
    mine, _, _ = two.replicas
    held = mine.take(ID, "")
    two.now += LEASE_S / 3
    mine.renew(held)  # the commit does not know of it: its answer came late, or never

    committed = mine.commit(held, turn("Hello", two.now), 0)

    assert prompts(mine.look(ID, "")) == ["Hello"]
    assert committed.record.holder == ""


def test_a_session_is_deleted_where_a_renewal_came_between(two: World):
    mine, _, _ = two.replicas
    mine.commit(mine.take(ID, ""), turn("Hello", two.now), 0)
    held = mine.take(ID, "")
    two.now += LEASE_S / 3
    mine.renew(held)

    mine.delete(held)

    with pytest.raises(NoSession):
        mine.look(ID, "")


def test_a_commit_does_not_write_over_a_lease_that_another_replica_took(two: World):
    mine, other, _ = two.replicas
    held = mine.take(ID, "")
    two.now += LEASE_S + 0.1
    theirs = other.take(ID, "")

    with pytest.raises(TakenOver):
        mine.commit(held, turn("late", two.now), 0)

    assert prompts(other.commit(theirs, turn("theirs", two.now), 0).record) == ["theirs"]


def test_a_commit_counts_where_its_answer_was_lost_and_another_replica_goes_on_already(
    two: World, monkeypatch: pytest.MonkeyPatch
):
    mine, other, _ = two.replicas
    held = mine.take(ID, "")
    written = two.stores[0].write

    def lost(session_id: str, body: bytes, tag: str | None) -> str:
        monkeypatch.setattr(two.stores[0], "write", written)
        written(session_id, body, tag)
        other.take(ID, "")
        raise Conflict(session_id)

    monkeypatch.setattr(two.stores[0], "write", lost)

    committed = mine.commit(held, turn("Hello", two.now), 0)

    assert prompts(committed.record) == ["Hello"]
    assert committed.record.holder == "replica-1"


def test_a_copy_that_is_out_of_date_is_read_again(two: World):
    mine, other, _ = two.replicas
    seen = mine.commit(mine.take(ID, ""), turn("Hello", two.now), 0)
    other.commit(other.take(ID, ""), turn("Hello", two.now), 0)

    assert prompts(mine.take(ID, "", seen).record) == ["Hello", "Hello"]


def test_a_record_comes_back_as_it_was_written():
    messages = [{"role": "user", "content": [{"text": "Zürich"}, {"reasoningContent": {"redactedContent": b"\x00"}}]}]
    record = SessionRecord("me", 1.5, 2.5, (StoredTurn(2.5, messages, 10, (1.0,)),), "replica", 3.5)

    assert SessionRecord.from_bytes(ID, record.to_bytes()) == record

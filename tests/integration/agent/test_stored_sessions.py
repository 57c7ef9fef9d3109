"""Sessions in a folder and in a real S3: what counts after a kill, who may work on one, what expires."""

import asyncio
import itertools
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from genai_pipeline.agent.sessions.keeper import Sessions, TurnOutcome
from genai_pipeline.agent.sessions.leases import SessionLeases
from genai_pipeline.agent.sessions.session_errors import Busy, NoSession, SessionBroken, SessionsUnavailable, TakenOver
from genai_pipeline.agent.sessions.session_record import SessionLimits, StoredTurn
from genai_pipeline.agent.sessions.session_store import BucketSessionStore, FolderSessionStore, SessionStore
from genai_pipeline.agent.sessions.shared import SharedSessions
from genai_pipeline.agent.turn_events import Turn
from genai_pipeline.gateways.store.s3 import S3Store
from tests.fakes.hand_clock import HandClock
from tests.integration.conftest import S3Server

ID = "a-session-of-my-own"
LEASE_S = 15.0


class World:
    """A store, and as many replicas as a test wants."""

    def __init__(self, kind: str, folder: Path, s3: S3Server, store: S3Store) -> None:
        self.clock, self.folder = HandClock(time.time()), folder
        client = boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name="us-east-1",
        )
        self.client, self.bucket, self.kind = client, store.bucket, kind

    def store(self) -> SessionStore:
        if self.kind == "file":
            return FolderSessionStore(self.folder)
        return BucketSessionStore(self.client, self.bucket, "agents/x")

    def leases(self, ttl_s: float = 3600, store: SessionStore | None = None) -> SessionLeases:
        return SessionLeases(store or self.store(), secrets.token_hex(4), ttl_s, LEASE_S, self.clock)

    def replica(self, max_messages: int = 40, store: SessionStore | None = None) -> Sessions:
        limits = SessionLimits(max_count=100, ttl_s=3600, max_bytes=100_000, max_messages=max_messages)
        shared = SharedSessions(self.leases(store=store), LEASE_S, (0.02, 0.05))
        return Sessions(object, limits, shared, self.clock)

    def files(self) -> list[str]:
        """The names of all objects in the store."""
        if self.kind == "file":
            return sorted(p.name for p in self.folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix="agents/x").get("Contents", [])
        return sorted(entry["Key"].split("/")[-1] for entry in found)


@pytest.fixture(params=["file", "s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server, store: S3Store) -> World:
    return World(request.param, tmp_path, s3_server, store)


def run(test: Callable[[], Awaitable[Any]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # pyright: ignore[reportArgumentType]


def said(text: str) -> TurnOutcome:
    messages = [{"role": "user", "content": [{"text": text}]}, {"role": "assistant", "content": [{"text": text}]}]
    return TurnOutcome(Turn(text), messages, 0, 10)


def stored_turn(text: str) -> StoredTurn:
    return StoredTurn(time.time(), said(text).messages, 10)


async def turn(sessions: Sessions, text: str, session_id: str = ID, owner: str = "") -> list[str]:
    """One turn; what was said before it."""
    async with sessions.use(session_id, owner) as session:
        before = [m["content"][0]["text"] for m in session.history if m["role"] == "user"]
        await sessions.keep(session, said(text))
        return before


async def once_the_store_is_back(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """A store that has just started answers with errors of its own for a while."""
    while True:
        try:
            return await attempt()
        except SessionsUnavailable:
            await asyncio.sleep(0.1)


def test_another_replica_continues_a_conversation_and_the_first_one_sees_it(world: World):
    async def test():
        one, two = world.replica(), world.replica()
        assert await turn(one, "1") == []
        assert await turn(two, "2") == ["1"]
        assert await turn(one, "3") == ["1", "2"]
        seen = await two.view(ID, "")
        assert [t["prompt"] for t in seen["turns"]] == ["1", "2", "3"]
        assert await turn(world.replica(), "4") == ["1", "2", "3"]

    run(test)


def test_replicas_asked_at_once_keep_a_session_in_order_and_lose_nothing(world: World):
    async def test():
        replicas = [world.replica() for _ in range(3)]
        names = [f"{i}" for i in range(12)]
        seen = await asyncio.gather(*(turn(r, n) for r, n in zip(itertools.cycle(replicas), names, strict=False)))
        assert sorted(len(before) for before in seen) == list(range(12))
        told = [t["prompt"] for t in (await replicas[0].view(ID, ""))["turns"]]
        assert sorted(told) == sorted(names)
        assert all(told[: len(before)] == before for before in seen)

    run(test)


def test_a_dead_replicas_lease_runs_out_and_its_turn_does_not_count(world: World):
    async def test():
        dead, alive = world.leases(), world.leases()
        taken = dead.take(ID, "")
        with pytest.raises(Busy):
            alive.take(ID, "")
        world.clock.now += LEASE_S + 0.1
        assert await turn(world.replica(), "1") == []
        with pytest.raises(TakenOver):
            dead.commit(taken, stored_turn("late"), 0)
        assert await turn(world.replica(), "2") == ["1"]

    run(test)


def test_a_lease_that_is_renewed_does_not_run_out(world: World):
    leases, other = world.leases(), world.leases()
    held = leases.take(ID, "")
    for _ in range(4):
        world.clock.now += LEASE_S * 0.6
        held = leases.renew(held)
        with pytest.raises(Busy):
            other.take(ID, "")
    leases.commit(held, stored_turn("1"), 0)


@pytest.mark.parametrize("step", ["commit", "release", "take"])
def test_an_answer_of_the_store_that_is_lost_changes_nothing(world: World, step: str):
    """The write happens, its answer does not come, and the client's second try meets the first one's object."""
    store = world.store()
    leases = SessionLeases(store, "replica", 3600, LEASE_S, world.clock)
    write, lost = store.write, iter([True])

    def losing(session_id: str, body: bytes, tag: str | None) -> str:
        written = write(session_id, body, tag)
        return write(session_id, body, tag) if next(lost, False) else written

    held = leases.commit(leases.take(ID, ""), stored_turn("0"), 0)
    if step == "take":
        store.write = losing
        held = leases.commit(leases.take(ID, "", held), stored_turn("1"), 0)
    else:
        held = leases.take(ID, "", held)
        store.write = losing
        held = leases.commit(held, stored_turn("1"), 0) if step == "commit" else leases.release(held)
    assert held is not None
    assert not held.record.holder
    assert len(world.leases().look(ID, "").turns) == (1 if step == "release" else 2)


def test_a_request_that_is_given_up_gives_the_lease_back(world: World):
    async def test():
        one, two = world.replica(), world.replica()
        await turn(one, "1")
        entered = asyncio.Event()

        async def abandoned() -> None:
            async with one.use(ID, ""):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(abandoned())
        await entered.wait()
        waiting = asyncio.create_task(turn(two, "2"))
        task.cancel()
        assert await waiting == ["1"]  # the clock stands still: no lease ran out
        assert await turn(one, "3") == ["1", "2"]

    run(test)


@pytest.mark.parametrize("write", [1, 2], ids=["lease", "commit"])
def test_a_request_given_up_while_the_store_is_asked_gives_the_lease_back(
    world: World, write: int, monkeypatch: pytest.MonkeyPatch
):
    async def test():
        store, entered, go_on = world.store(), threading.Event(), threading.Event()
        one, two = world.replica(store=store), world.replica()
        await turn(one, "1")
        writes, written = itertools.count(1), store.write

        def halting(*args: Any) -> str:
            if next(writes) == write:
                entered.set()
                go_on.wait(30)
            return written(*args)

        monkeypatch.setattr(store, "write", halting)
        task = asyncio.create_task(turn(one, "given up"))
        await asyncio.to_thread(entered.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert (await turn(two, "2"))[0] == "1"
        assert (await turn(one, "3"))[-1] == "2"

    run(test)


def test_a_new_session_whose_turn_failed_leaves_nothing_in_the_store(world: World):
    async def test():
        sessions = world.replica()
        with pytest.raises(ZeroDivisionError):
            async with sessions.use(ID, "me"):
                raise ZeroDivisionError
        assert await turn(sessions, "1", owner="you") == []
        await sessions.delete(ID, "you")
        assert world.files() == []

    run(test)


def test_dropped_turns_leave_the_store(world: World):
    async def test():
        sessions = world.replica(max_messages=4)
        for i in range(5):
            await turn(sessions, str(i))
        assert await turn(world.replica(), "?") == ["3", "4"]
        await sessions.close()

    run(test)
    assert len(world.leases().look(ID, "").turns) == 3


def test_a_session_is_its_owners_alone_on_every_replica(world: World):
    async def test():
        await turn(world.replica(), "secret", owner="me")
        other = world.replica()
        for attempt in (turn(other, "?", owner="you"), other.view(ID, "you"), other.delete(ID, "you")):
            with pytest.raises(NoSession):
                await attempt
        assert await turn(other, "mine", owner="me") == ["secret"]

    run(test)


def test_expired_sessions_are_gone_at_once_and_swept_from_the_store(world: World):
    leases = world.leases(ttl_s=10)
    for name in (ID, "another-session-here"):
        leases.commit(leases.take(name, ""), stored_turn("old"), 0)
    world.clock.now += 200
    with pytest.raises(NoSession):
        leases.look(ID, "")
    assert leases.take(ID, "new owner").record.turns == ()
    assert world.leases(ttl_s=10).sweep() == 1

    assert world.files() == [f"{ID}.json"]


def test_a_sweep_leaves_a_session_whose_lease_is_renewed(world: World):
    leases = world.leases(ttl_s=100)
    used = leases.take(ID, "")
    world.clock.now += 300
    leases.renew(used)

    assert world.leases(ttl_s=100).sweep() == 0
    assert world.files() == [f"{ID}.json"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"format": 2, "turns": []}', b'{"format": 1, "turns": 5}'])
def test_a_stored_object_that_is_no_session_is_refused_and_nothing_is_made_up(world: World, body: bytes):
    async def test():
        world.store().write(ID, body, None)
        with pytest.raises(SessionBroken):
            await turn(world.replica(), "2")
        with pytest.raises(SessionBroken):
            await world.replica().view(ID, "")

    run(test)


def test_fifty_sessions_at_once_on_two_replicas_do_not_mix(world: World):
    async def test():
        replicas = [world.replica(), world.replica()]
        ids = [f"session-number-{i:04}" for i in range(50)]
        for round_ in range(2):
            seen = await asyncio.gather(
                *(turn(replicas[(i + round_) % 2], f"{name}/{round_}", name) for i, name in enumerate(ids))
            )
            assert seen == [[f"{name}/{r}" for r in range(round_)] for name in ids]

    run(test)


def test_a_store_that_goes_away_is_reported_and_the_conversation_is_as_before(
    tmp_path: Path, start_s3: Callable[..., S3Server], caplog: pytest.LogCaptureFixture
):
    async def test():
        s3 = start_s3(home=tmp_path)
        store = s3.store("sessions")
        store.ensure_bucket()
        world = World("s3", tmp_path, s3, store)
        sessions = world.replica()
        await turn(sessions, "1")
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(sessions.use(ID, ""))
            s3.process.kill()
            s3.process.wait()
            with pytest.raises(SessionsUnavailable):
                await sessions.keep(session, said("lost"))
        with pytest.raises(SessionsUnavailable):
            await turn(sessions, "lost too")
        with pytest.raises(SessionsUnavailable):
            await sessions.view(ID, "")
        start_s3(home=tmp_path, port=s3.port)
        assert await once_the_store_is_back(lambda: turn(sessions, "2")) == ["1"]

    run(test)
    assert "code=<EndpointConnectionError>" in caplog.text
    assert ID not in caplog.text

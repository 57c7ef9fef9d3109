"""The demo's fault switch: off without its file, and about one release only."""

import asyncio
import json
from pathlib import Path

import pytest

from demo.fault_switch import FaultSwitch, switch_of
from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.core.record import Live
from genai_pipeline.local import breaking
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE

ARGV = ["-m", "--model=s3://b/models/weather/", "--served-model-name", "weather", "weather@abc-1", "--port=8000"]
SPEC = model_with_tools(
    f"name: weather\nsource: {{hub: a/b}}\nserving: {{args: {{middleware: {breaking.MIDDLEWARE}}}}}\n", "weather.yaml"
)
LIVE = Live("abc-1", "abc", "", "old-1", "2026-01-01T00:01:00.000Z")


@pytest.fixture
def profile(tmp_path):
    from dataclasses import replace

    return replace(PROFILE, home=tmp_path)


@pytest.fixture
def engine(profile, monkeypatch):
    """Ask an engine behind the switch; returns the status, and the request as the engine got it."""
    monkeypatch.setattr("sys.argv", ARGV)
    monkeypatch.setenv("GENAI_SUPERVISED_BY", str(profile.home))
    got = {}

    async def app(scope, receive, send):
        got["body"] = json.loads((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def ask(path="/v1/chat/completions"):
        got.clear()
        body = json.dumps({"messages": [], "tools": [1], "tool_choice": "auto"}).encode()
        parts = [{"type": "http.request", "body": body[:5], "more_body": True}]
        parts += [{"type": "http.request", "body": body[5:]}]
        whole = [{"type": "http.request", "body": body}]
        incoming, sent = (parts if breaking_with("wrong") else whole), []

        async def receive():
            return incoming.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(FaultSwitch(app)({"type": "http", "path": path}, receive, send))
        return sent[0]["status"], got.get("body")

    def breaking_with(fault):
        file = profile.home / "faults" / "weather@abc-1"
        return file.exists() and file.read_text() == fault

    return ask


def test_without_its_file_it_does_nothing(engine):
    assert engine() == (200, {"messages": [], "tools": [1], "tool_choice": "auto"})


def test_errors_are_answered_before_the_engine_and_only_to_completions(engine, profile):
    breaking.break_live(profile, SPEC, LIVE, "errors")

    assert engine() == (500, None)
    assert engine("/health")[0] == 200

    breaking.mend(profile, "weather")
    assert engine()[0] == 200


def test_wrong_takes_the_tools_away(engine, profile):
    breaking.break_live(profile, SPEC, LIVE, "wrong")

    assert engine() == (200, {"messages": []})


def test_another_release_is_as_well_as_it_was(engine, profile):
    from dataclasses import replace

    breaking.break_live(profile, SPEC, replace(LIVE, release="new-1"), "errors")

    assert engine()[0] == 200


def test_an_engine_that_no_one_supervises_has_no_switch():
    assert switch_of(ARGV, {}) is None
    assert switch_of(ARGV, {"GENAI_SUPERVISED_BY": "/h"}) == Path("/h/faults/weather@abc-1")


def test_what_will_happen_is_said(profile):
    watched = breaking.break_live(profile, SPEC, LIVE, "latency")
    first = breaking.break_live(profile, SPEC, Live("abc-1", "abc", ""), "crash")
    late = Live("abc-1", "abc", "", last_good="old-1")
    guarded, slow = (breaking.break_live(profile, SPEC, late, fault) for fault in ("crash", "latency"))

    assert "goes back to old-1 by itself" in watched[1]
    assert "no last good release" in first[1]
    assert "old-1 is started again" in guarded[1]
    assert "so it stays" in slow[1]


def test_what_cannot_be_broken_is_refused(profile):
    with pytest.raises(NotFound):
        breaking.break_live(profile, SPEC, None, "errors")
    with pytest.raises(Refused, match="no fault switch"):
        breaking.break_live(
            profile, model_with_tools("name: weather\nsource: {hub: a/b}\n", "weather.yaml"), LIVE, "errors"
        )

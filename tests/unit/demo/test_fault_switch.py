"""The demo's fault switch: off without its file, and about one release only."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

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
    """Ask a server that is made as vLLM makes its own; returns the status, and the request as the endpoint got it."""
    monkeypatch.setattr("sys.argv", ARGV)
    monkeypatch.setenv("GENAI_SUPERVISED_BY", str(profile.home))
    return Engine()


class Engine:
    """FastAPI with vLLM's counters inside, and the switch around them."""

    def __init__(self):
        self.got, self.registry = None, CollectorRegistry()
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.complete)
        self.app.get("/health")(self.health)
        instrumentator = pytest.importorskip("prometheus_fastapi_instrumentator").Instrumentator
        instrumentator(registry=self.registry).add().instrument(self.app)
        self.app.add_middleware(FaultSwitch)

    async def health(self) -> None: ...

    async def complete(self, asked: dict[str, Any]) -> None:
        self.got = asked

    def __call__(self, method="POST", path="/v1/chat/completions"):
        self.got = None
        body = json.dumps({"messages": [], "tools": [1], "tool_choice": "auto"}).encode() if method == "POST" else b""

        async def in_parts():
            yield body[:5]
            yield body[5:]

        async def ask():
            headers = {"content-type": "application/json"}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://engine") as client:
                return await client.request(method, path, content=in_parts(), headers=headers)

        return asyncio.run(ask()).status_code, self.got

    def counted(self, status):
        labels = {"handler": "/v1/chat/completions", "method": "POST", "status": status}
        return self.registry.get_sample_value("http_requests_total", labels)


def test_without_its_file_it_does_nothing(engine):
    assert engine() == (200, {"messages": [], "tools": [1], "tool_choice": "auto"})


def test_errors_do_not_reach_the_engine_and_only_completions_have_them(engine, profile):
    breaking.break_live(profile, SPEC, LIVE, "errors")

    assert engine() == (500, None)
    assert engine("GET", "/health")[0] == 200

    breaking.mend(profile, "weather")
    assert engine()[0] == 200


def test_the_engines_own_counter_of_answers_has_the_errors(engine, profile):
    """The dashboards, the alerts and the error rate of the watch read it."""
    engine()
    breaking.break_live(profile, SPEC, LIVE, "errors")
    engine()
    engine()

    assert (engine.counted("2xx"), engine.counted("5xx")) == (1, 2)


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

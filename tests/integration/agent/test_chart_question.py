"""What `helm test` runs, against the real agent service: it passes on one that works, and says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, results_of, tells_the_time
from tests.unit.k8s.chart import CHART

QUESTION = "What time is it in Tokyo?"


def asks_for_a_zone_that_is_none(messages: Messages) -> Say:
    return Say("I cannot say.") if results_of(messages) else Say(calls=[("get_current_time", {"timezone": "Nowhere"})])


def ask(url: str, **more: str) -> subprocess.CompletedProcess[str]:
    told = {"AGENT_URL": f"{url}/agent", "QUESTION": QUESTION, "EXPECT_TOOL": "get_current_time", "EXPECT_TEXT": r"\S"}
    command = [sys.executable, "-I", str(CHART / "files" / "question.py")]
    environment = {"PATH": os.environ["PATH"], "TIMEOUT_S": "20", **told, **more}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_working_agent_passes():
    with ScriptedModel(tells_the_time) as model, running_agent(model.url) as agent:
        done = ask(agent.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("passed")


@pytest.mark.parametrize(
    ("script", "more", "says"),
    [
        (lambda _: Say("It is noon."), {}, "get_current_time was not called with success: no tool was"),
        (asks_for_a_zone_that_is_none, {}, r"not called with success: [('get_current_time', 'error')]"),
        (tells_the_time, {"EXPECT_TEXT": "Oslo"}, "the answer does not hold 'Oslo': 'In Tokyo it is"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(script, more, says):
    with ScriptedModel(script) as model, running_agent(model.url) as agent:
        done = ask(agent.url, **more)

    assert done.returncode == 1
    assert says in done.stderr


def test_a_callers_key_is_sent_and_a_wrong_one_is_refused_at_once():
    with ScriptedModel(tells_the_time) as model, running_agent(model.url, api_keys="first,second") as agent:
        right, wrong = ask(agent.url, API_KEYS="first, second"), ask(agent.url, API_KEYS="other")

    assert right.returncode == 0, right.stderr
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("refused: 401")


def test_no_one_there_is_no_answer_in_time():
    done = ask("http://127.0.0.1:9", TIMEOUT_S="1")

    assert done.returncode == 1
    assert "no answer within 1 s, at last: " in done.stderr

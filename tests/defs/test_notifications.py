"""The sensor that sends notices on, at a desk: what it says, and that the address is nowhere."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.verdict import failed
from genai_pipeline.gateways.webhook.http_webhook import HttpWebhook
from genai_pipeline.resources.engines import Engines
from tests.defs.beginnings import begin_with
from tests.defs.upkeep_desk import run, tick
from tests.fakes.webhook import FakeWebhook
from tests.fakes.world import PROFILE

SECRET = "T00-B00-veryprivate"


def connect(desk, webhook, profile=PROFILE):
    desk.engines = Engines(profile, replace(desk.world.gateways(), webhook=webhook))


@pytest.fixture
def webhook(desk):
    webhook = FakeWebhook()
    connect(desk, webhook)
    return webhook


def reject(desk):
    desk.verdicts["agent_report"] = [failed(v.check, "Paris") for v in desk.verdicts["agent_report"]]
    desk.world.hub.publish("bad")
    desk.roll_out()


def test_a_rejection_is_reported_with_its_reason_and_a_link_and_starts_nothing(desk, webhook):
    reject(desk)

    requests, said = tick(desk, "notifications")

    assert requests == []
    assert said == "1 notices sent, 0 wait."
    (text,) = webhook.texts
    assert text.startswith(f"tiny@{desk.releases[0]}: rejected. agent_report.")
    assert text.endswith("\nhttp://dagster/assets/tiny/live")


def test_a_rollback_is_reported_once_whoever_finishes_it(desk, webhook):
    begin_with(desk, "v1", "v2")
    bad = desk.live
    for _ in range(2):
        desk.engines.roll_back().begin("tiny", "it breaks", "ada", release=bad)
        desk.engines.roll_back().finish("tiny", lambda _: None)
        tick(desk, "notifications")

    assert len(webhook.texts) == 1
    assert "rolled back" in webhook.texts[0]


def test_off_unless_it_is_set(desk):
    reject(desk)
    assert "GENAI_WEBHOOK_URL is not set" in tick(desk, "notifications")[1]


@pytest.mark.parametrize(
    ("profile", "link"),
    [
        (replace(PROFILE, name="eks", dagster_url="http://127.0.0.1:3000"), ""),
        (replace(PROFILE, name="eks", dagster_url="https://ui/"), "https://ui/assets/tiny/live"),
        (PROFILE, "http://dagster/assets/tiny/live"),
    ],
)
def test_the_link_is_there_where_someone_said_where_the_ui_is(desk, profile, link):
    webhook = FakeWebhook()
    connect(desk, webhook, profile)
    desk.engines.notices().write(Notice(NoticeKind.DRIFT, "tiny", "r1", "x", "2999-01-01T00:00:00Z"))

    tick(desk, "notifications")

    assert webhook.texts[0].partition("\n")[2] == link


def test_the_address_is_in_no_tick_no_log_no_run_and_nowhere_in_dagsters_storage(desk, caplog, capfd, monkeypatch):
    monkeypatch.setenv("GENAI_WEBHOOK_URL", f"http://127.0.0.1:1/{SECRET}")
    connect(desk, HttpWebhook(f"http://127.0.0.1:1/{SECRET}"))
    with dg.instance_for_test() as instance:
        desk.instance = instance
        reject(desk)
        _, said = tick(desk, "notifications")
        result = run(desk, "live_drift")

        assert "The webhook did not answer" in said
        stored = [path.read_bytes() for path in Path(instance.root_directory).rglob("*") if path.is_file()]
        assert stored
        assert not [body for body in stored if SECRET.encode() in body]
    out = capfd.readouterr()
    assert SECRET not in said + caplog.text + out.out + out.err + str(result.dagster_run)
    assert not [body for body in desk.world.store.objects.values() if SECRET.encode() in body]

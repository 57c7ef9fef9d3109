from datetime import UTC, datetime, timedelta

import pytest

from genai_pipeline.core.errors import Refused, WebhookUnavailable
from genai_pipeline.core.faults import Crash
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.rollout.record.delivery import Delivery
from genai_pipeline.rollout.record.notices import Notices
from tests.fakes.store import MemoryStore
from tests.fakes.webhook import FakeWebhook

START = datetime(2026, 3, 1, tzinfo=UTC)


class Post:
    def __init__(self, webhook):
        self.now = START
        self.store = MemoryStore(clock=lambda: self.now.timestamp())
        self.notices = Notices(self.store)
        self.webhook = webhook
        self.restart()

    def restart(self):
        self.delivery = Delivery(self.notices, self.webhook, lambda path: f"http://ui/{path}", lambda: self.now)

    def happen(self, text="too slow", kind=NoticeKind.REJECTED, release="r1"):
        self.notices.write(Notice(kind, "tiny", release, text, self.now.isoformat()))

    def later(self, **time):
        self.now += timedelta(**time)


@pytest.fixture
def post():
    return Post(FakeWebhook())


def test_a_notice_is_posted_once_with_model_release_what_why_and_where_to_look(post):
    post.happen("serving_report.ttft_p95: 900 > 800")

    said = post.delivery.tick()
    post.delivery.tick()

    assert post.webhook.texts == [
        "tiny@r1: rejected. serving_report.ttft_p95: 900 &gt; 800\nhttp://ui/assets/tiny/live"
    ]
    assert said == "1 notices sent, 0 wait."


def test_a_step_that_runs_again_after_the_post_announces_nothing_twice(post):
    post.happen()
    post.delivery.tick()

    post.happen()
    post.delivery.tick()

    assert len(post.webhook.texts) == 1


def test_other_words_about_the_same_release_are_news(post):
    post.happen("drift: a", NoticeKind.DRIFT)
    post.delivery.tick()
    post.happen("drift: b", NoticeKind.DRIFT)

    post.delivery.tick()

    assert len(post.webhook.texts) == 2


@pytest.mark.parametrize("answer", [WebhookUnavailable("down"), Refused("404")])
def test_what_was_not_taken_waits_longer_and_longer_and_is_posted_in_the_end(post, answer):
    post.happen()
    post.webhook.answer = answer
    calls = []
    for _ in range(3600 * 4 // 30):
        post.delivery.tick()
        calls.append(post.webhook.calls)
        post.later(seconds=30)

    assert post.webhook.calls <= 10
    post.webhook.answer = None
    post.later(hours=1)
    post.delivery.tick()
    assert len(post.webhook.texts) == 1
    assert post.notices.waiting() == []


def test_one_that_is_refused_does_not_hold_the_others_back(post):
    post.happen("a")
    post.later(seconds=1)
    post.happen("b")
    refuse, post.webhook.answer = post.webhook.post, None

    def picky(text):
        if ". a" in text:
            raise Refused("400")
        refuse(text)

    post.webhook.post = picky
    post.delivery.tick()

    assert len(post.webhook.texts) == 1


def test_a_webhook_that_hangs_keeps_no_tick_and_no_second_round_is_begun(post):
    post.happen()
    post.webhook.open.clear()

    said = [post.delivery.tick(patience_s=0.01) for _ in range(3)]

    assert said == ["The webhook has not answered yet."] * 3
    assert post.webhook.calls == 1
    post.webhook.open.set()
    post.delivery.tick(patience_s=30)
    assert len(post.webhook.texts) == 1


def test_killed_between_the_post_and_the_marker_it_is_sent_twice_rather_than_never(post, monkeypatch):
    post.happen()
    monkeypatch.setenv("GENAI_CRASH_AT", "notices.posted:exception")
    with pytest.raises(Crash):
        post.delivery.round()
    monkeypatch.delenv("GENAI_CRASH_AT")
    post.restart()

    post.delivery.round()

    assert len(post.webhook.texts) == 2
    assert post.notices.waiting() == []


def test_killed_between_the_marker_and_the_delete_it_is_not_posted_again(post):
    post.happen()
    (notice,) = post.notices.waiting()
    post.store.put(notice.sent_key, b"")

    post.delivery.tick()

    assert post.webhook.texts == []
    assert post.notices.waiting() == []


def test_unsent_notices_expire_after_a_week_and_without_a_webhook_after_a_day(post):
    post.happen()
    post.webhook.answer = WebhookUnavailable("down")
    post.later(days=6)
    post.delivery.tick()
    assert post.notices.waiting()
    post.later(days=2)
    assert "1 expired unsent" in post.delivery.tick()

    silent = Post(None)
    silent.happen()
    assert "not set" in silent.delivery.tick()
    silent.later(hours=25)
    silent.delivery.tick()
    assert silent.notices.waiting() == []


def test_markers_and_what_is_no_notice_go_too(post):
    post.happen()
    post.delivery.tick()
    post.store.put("notices/tiny/odd.json", b"{")
    post.later(days=8)

    post.delivery.tick()

    assert list(post.store.list("notices")) == []


def test_a_store_that_is_down_is_said_in_the_tick(post):
    post.store.go_down()
    assert "did not answer" in post.delivery.tick()

"""Send waiting notices to the webhook without delaying anything else.

A round runs in its own thread: a webhook may hang, and Dagster evaluates the sensors of an installation one after
another. A notice that could not be sent is tried again after growing pauses. It is deleted only when the webhook has
accepted it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from genai_pipeline.core.clock import growing_pause_s
from genai_pipeline.core.errors import GenaiError, Unavailable
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.gateways.webhook.abc import Webhook
from genai_pipeline.rollout.record.notices import Notices

PATIENCE_S = 1.5
"""Seconds that a tick waits for its round. A webhook that works has answered by then."""
FIRST_RETRY_S, LAST_RETRY_S = 30, 3600
ROUND_MAX = 20
"""Slack accepts about one message a second. The next tick sends the rest."""


class Delivery:
    """Send notices. There is one object per process.

    Args:
        page: returns the address of a page of the Dagster UI, for example of assets/m/live, or an empty text without an
            address of the UI.
    """

    def __init__(
        self,
        notices: Notices,
        webhook: Webhook | None,
        page: Callable[[str], str] = lambda path: "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._notices, self._webhook, self._page, self._now = notices, webhook, page, now
        self._tries: dict[str, int] = {}
        self._due: dict[str, datetime] = {}
        self._round: threading.Thread | None = None
        self._outcome = ""

    def tick(self, patience_s: float = PATIENCE_S) -> str:
        """Start a round, unless one is under way. Returns: What the latest finished round did, in words."""
        if self._round is None or not self._round.is_alive():
            self._round = threading.Thread(target=self._run, name="notices", daemon=True)
            self._round.start()
        self._round.join(patience_s)
        return "The webhook has not answered yet." if self._round.is_alive() else self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self.round()
        except GenaiError as error:
            self._outcome = str(error)

    def round(self) -> str:
        """Send the notices that are due, oldest first. Raises: StoreUnavailable: the notices could not be read."""
        now = self._now()
        expired = self._notices.expire(now, is_sent_anywhere=self._webhook is not None)
        waiting = self._notices.waiting()
        if self._webhook is None:
            return f"GENAI_WEBHOOK_URL is not set: nothing is sent. {len(waiting)} notices wait, for a day at most."
        self._forget_all_but(waiting)
        sent, problem = 0, ""
        for notice in [n for n in waiting if self._due.get(n.key, now) <= now][:ROUND_MAX]:
            try:
                sent += self._send(self._webhook, notice)
            except Unavailable as error:  # the next notice would fail too
                problem = self._again_later(notice, error, now)
                break
            except GenaiError as error:
                problem = self._again_later(notice, error, now)
        left = f" {expired} expired unsent." if expired else ""
        return f"{sent} notices sent, {len(waiting) - sent} wait. {problem}".strip() + left

    def _send(self, webhook: Webhook, notice: Notice) -> bool:
        if not self._notices.was_sent(notice):  # a predecessor was killed before it deleted this one
            path = "runs" if notice.kind is NoticeKind.UPKEEP_FAILED else f"assets/{notice.model}/live"
            webhook.post(worded(notice, self._page(path)))
            crash_point("notices.posted")
        self._notices.sent(notice)
        return True

    def _again_later(self, notice: Notice, error: GenaiError, now: datetime) -> str:
        tries = self._tries[notice.key] = self._tries.get(notice.key, 0) + 1
        pause_s = growing_pause_s(tries, FIRST_RETRY_S, 4, LAST_RETRY_S)
        self._due[notice.key] = now + timedelta(seconds=pause_s)
        return f"{error} Next try of {notice.model}@{notice.release} in {pause_s:.0f} s."

    def _forget_all_but(self, waiting: list[Notice]) -> None:
        keys = {notice.key for notice in waiting}
        self._tries = {key: n for key, n in self._tries.items() if key in keys}
        self._due = {key: at for key, at in self._due.items() if key in keys}


def worded(notice: Notice, link: str) -> str:
    """Return the text of a notice and a link. `&`, `<` and `>` are escaped as Slack requires."""
    text = f"{notice.model}@{notice.release}: {notice.kind}. {notice.text}".strip()
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, entity)
    return f"{text}\n{link}" if link else text

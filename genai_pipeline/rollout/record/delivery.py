"""Send the notices that wait to the webhook, beside whatever else goes on.

A round runs in a thread of its own, because a webhook may hang, and the sensors of an installation are evaluated one
after another. What could not be sent is tried again later and later; a notice is deleted only when the webhook took it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from genai_pipeline.core.errors import GenaiError, Unavailable
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.gateways.webhook.abc import Webhook
from genai_pipeline.rollout.record.notices import Notices

PATIENCE_S = 1.5
"""How long a tick waits for its round: a webhook that answers has answered by then."""
FIRST_RETRY, LAST_RETRY = timedelta(seconds=30), timedelta(hours=1)
ROUND_MAX = 20
"""Slack takes about one a second; the rest goes with the next tick."""


class Delivery:
    """One per process.

    Args:
        page: address of a page of the Dagster UI, as assets/m/live; empty where nobody knows the UI's address.
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
        self._said = ""

    def tick(self, patience_s: float = PATIENCE_S) -> str:
        """Start a round unless one goes on still; what came of it, or of the one before."""
        if self._round is None or not self._round.is_alive():
            self._round = threading.Thread(target=self._run, name="notices", daemon=True)
            self._round.start()
        self._round.join(patience_s)
        return "The webhook has not answered yet." if self._round.is_alive() else self._said

    def _run(self) -> None:
        try:
            self._said = self.round()
        except GenaiError as error:
            self._said = str(error)

    def round(self) -> str:
        """Send what is due, oldest first. Raises: StoreUnavailable."""
        now = self._now()
        expired = self._notices.expire(now, is_sent_anywhere=self._webhook is not None)
        waiting = self._notices.waiting()
        if self._webhook is None:
            return f"GENAI_WEBHOOK_URL is not set: nothing is sent. {len(waiting)} notices wait; they go after a day."
        self._forget_all_but(waiting)
        sent, problem = 0, ""
        for notice in [n for n in waiting if self._due.get(n.key, now) <= now][:ROUND_MAX]:
            try:
                sent += self._send(self._webhook, notice)
            except Unavailable as error:  # nor would it take the next one
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
        wait = min(FIRST_RETRY * 4 ** min(tries - 1, 6), LAST_RETRY)
        self._due[notice.key] = now + wait
        return f"{error} Next try of {notice.model}@{notice.release} in {wait.total_seconds():.0f} s."

    def _forget_all_but(self, waiting: list[Notice]) -> None:
        keys = {notice.key for notice in waiting}
        self._tries = {key: n for key, n in self._tries.items() if key in keys}
        self._due = {key: at for key, at in self._due.items() if key in keys}


def worded(notice: Notice, link: str) -> str:
    """Model, release, what and why; and where to look. `&`, `<` and `>` as Slack wants them."""
    text = f"{notice.model}@{notice.release}: {notice.kind}. {notice.text}".strip()
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, entity)
    return f"{text}\n{link}" if link else text

import time
from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def no_pause_between_two_questions(monkeypatch):
    """A drain that is part of a larger step pauses for 0.25 s; nothing here changes meanwhile."""
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: None)
    monkeypatch.setattr("genai_pipeline.rollout.switch.settling.time", clock)

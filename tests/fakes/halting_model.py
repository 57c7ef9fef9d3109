"""A model that streams its answer in pieces, and stops before each one until `go_on` is released."""

from __future__ import annotations

import threading

from tests.fakes.wild_model import USAGE, Talk, WildModel, delta, text


class HaltingModel(WildModel):
    """Serves the model `scripted`. `go_on.release()` lets the next piece out; `gone` is set when the client went."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces, self.go_on, self.gone = pieces, threading.Semaphore(0), threading.Event()
        self.entered = threading.Event()
        super().__init__(self._halt)

    def _halt(self, talk: Talk) -> None:
        talk.stream(done=False)
        self.entered.set()
        for piece in self.pieces:
            while not self.go_on.acquire(timeout=0.02):
                if self.stopped.is_set() or talk.has_left():
                    self.gone.set()
                    return
            talk.send([text(piece)])
        talk.send([delta("stop"), USAGE, b"data: [DONE]\n\n"])

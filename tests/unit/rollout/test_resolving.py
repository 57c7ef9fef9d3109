import threading

import pytest

from genai_pipeline.core.errors import GenaiError, HubUnavailable, Unavailable
from genai_pipeline.rollout.control.resolving import Resolver
from tests.fakes.model_texts import model_with_tools


def spec(name, repository=None):
    return model_with_tools(f"name: {name}\nsource: {{hub: owner/{repository or name}}}\n", name)


class Hub:
    """Answers with the repository's name; what is held waits until it is let go."""

    def __init__(self):
        self.asked, self.errors, self.held = [], {}, {}

    def __call__(self, source):
        return self

    def resolve(self, repository, ref):
        self.asked.append(repository)
        if repository in self.held:
            self.held[repository].wait(60)
        if repository in self.errors:
            raise self.errors[repository]
        return repository


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    for held in hub.held.values():
        held.set()


def test_models_of_one_source_ask_it_once(hub):
    found = Resolver(hub).revisions([spec("a", "same"), spec("b", "same")])

    assert found == {"a": "owner/same", "b": "owner/same"}
    assert hub.asked == ["owner/same"]


def test_every_tick_asks_again(hub):
    resolver = Resolver(hub)
    resolver.revisions([spec("a")])
    resolver.revisions([spec("a")])

    assert len(hub.asked) == 2


def test_a_slow_source_holds_only_its_own_models_back_and_is_not_asked_twice(hub):
    held = hub.held["owner/slow"] = threading.Event()
    resolver = Resolver(hub, budget_s=0.5)

    found = resolver.revisions([spec("slow"), spec("a")])

    assert "has not answered within" in str(found["slow"])
    assert found["a"] == "owner/a"
    resolver.revisions([spec("slow")])
    assert hub.asked.count("owner/slow") == 1
    held.set()
    resolver._budget_s = 60
    assert resolver.revisions([spec("slow")]) == {"slow": "owner/slow"}


def test_an_error_is_that_models_answer_and_a_mistake_of_ours_too(hub):
    hub.errors = {"owner/down": HubUnavailable("The hub did not answer."), "owner/odd": ValueError("odd")}

    found = Resolver(hub).revisions([spec("down"), spec("odd"), spec("a")])

    assert isinstance(found["down"], HubUnavailable)
    assert isinstance(found["odd"], Unavailable)
    assert "ValueError: odd" in str(found["odd"])
    assert not isinstance(found["a"], GenaiError)

"""A pod that is ready is not reachable yet: nodes follow a Service's endpoints a moment later."""

from dataclasses import replace

from genai_pipeline.core.errors import AgentUnavailable, EngineUnavailable
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, World

SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")
RELEASE = Release.of(SPEC, "a" * 40)


class Refusing:
    """Refuses the first `times` questions, as a Service without endpoints does."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.asked = error, times, 0

    def __call__(self, url):
        return self

    def models(self):
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return {}

    release = models


def candidates(**doors) -> Candidates:
    return Candidates(replace(World().gateways(), **doors), PROFILE, sleep=lambda _: None)


def test_an_engine_is_given_out_once_its_service_lets_questions_through():
    engine = Refusing(EngineUnavailable("connection refused"), 3)

    candidates(inference=engine).start_engine(SPEC, RELEASE, lambda _: None)

    assert engine.asked == 4


def test_an_agent_likewise():
    world = World()
    agent = Refusing(AgentUnavailable("connection refused"), 2)
    started = Candidates(world.gateways(), PROFILE)
    started.start_engine(SPEC, RELEASE, lambda _: None)
    Candidates(replace(world.gateways(), agent=agent), PROFILE, sleep=lambda _: None).start_agent(
        SPEC, RELEASE, lambda _: None
    )

    assert agent.asked == 3


def test_an_engine_that_never_answers_is_left_to_the_checks():
    engine = Refusing(EngineUnavailable("connection refused"), 10_000)

    assert candidates(inference=engine).start_engine(SPEC, RELEASE, lambda _: None)
    assert engine.left > 0

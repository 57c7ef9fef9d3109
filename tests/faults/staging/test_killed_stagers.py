import random
import re
import signal
import threading
from pathlib import Path

import pytest

import genai_pipeline
from genai_pipeline.core.errors import StoreUnavailable
from genai_pipeline.core.manifest import MANIFEST_NAME
from tests.fakes.bad_replies import asks, large, once, same_size_garbage
from tests.fakes.exchange import no_fault
from tests.faults.staging.child import CRASHED, ENDED_BY_SIGTERM, STAGED, StagerProcess
from tests.faults.staging.world import World

PACKAGE = Path(genai_pipeline.__file__).parent
POINTS = sorted(
    {p for f in PACKAGE.rglob("*.py") for p in re.findall(r'crash_point\("(staging\.\w+)"\)', f.read_text())}
)
KINDS = {"SIGKILL": {-signal.SIGKILL}, "SIGTERM": {ENDED_BY_SIGTERM}, "exception": {CRASHED}}
LONG, NIGHTLY = pytest.mark.long, pytest.mark.nightly
RANDOM_KILLS = [0, *(pytest.param(n, marks=LONG if n < 8 else NIGHTLY) for n in range(1, 200))]
"""Seeds."""
LONGEST_DELAY_S = 0.03


def rerun(world: World, mended: bool = False) -> None:
    """Stage again; what the server has acknowledged is not sent again, and the result is right.

    `mended`: the first run was sent wrong bytes, so that some of what was acknowledged is thrown away rightly.
    """
    world.quiet()
    world.assert_nothing_or_right()
    before = world.acknowledged()
    world.forget()

    world.addresses.stage()

    after = world.sent()
    assert not after.files & before.files, "finished files were sent again"
    assert mended or not after.parts & before.parts, "finished parts were sent again"
    assert not {path for path, _ in after.parts} & before.files, "parts of finished files were sent again"
    world.assert_right()
    streamed = {world.prefix + path for path in world.content if world.prefix + path != world.copied}
    assert not {upload["Key"] for upload in world.uploads()} & streamed, "an upload was not continued"
    world.assert_swept()


def test_there_are_at_least_ten_crash_points():
    assert len(POINTS) >= 10


@pytest.mark.parametrize("kind", ["SIGKILL", *(pytest.param(kind, marks=LONG) for kind in ("SIGTERM", "exception"))])
@pytest.mark.parametrize("point", POINTS)
def test_a_stager_that_ends_at_a_crash_point_leaves_no_half_model_and_a_rerun_completes_it(
    world, tmp_path, point, kind
):
    if "abort" in point:  # an upload is thrown away when its bytes are wrong
        world.hub.fault = once(same_size_garbage, large(asks("GET", r"^/cdn/")))
    stager = StagerProcess(world.addresses, tmp_path, f"{point}:{kind}").start()

    assert stager.ended() in KINDS[kind], f"{point} was not passed, or not survived: {stager.words}"

    assert stager.words == ""
    world.hub.fault = no_fault
    rerun(world, mended="abort" in point)


@pytest.fixture(scope="module")
def undisturbed(module_world: World, tmp_path_factory):
    """The number of requests of a staging."""
    module_world.reset()
    assert StagerProcess(module_world.addresses, tmp_path_factory.mktemp("undisturbed")).start().ended() == STAGED
    return len(module_world.hub.exchanges) + len(module_world.s3.exchanges)


@pytest.mark.parametrize("seed", RANDOM_KILLS)
def test_a_stager_killed_at_any_time_leaves_no_half_model_and_a_rerun_completes_it(world, undisturbed, tmp_path, seed):
    chosen = random.Random(seed)
    at, delay_s = chosen.randint(1, undisturbed), chosen.uniform(0, LONGEST_DELAY_S)
    kind = chosen.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    stager = StagerProcess(world.addresses, tmp_path)

    def kill_in_time(_):
        if len(world.hub.exchanges) + len(world.s3.exchanges) == at:
            threading.Timer(delay_s, stager.kill, [kind]).start()

    world.hub.fault = world.s3.fault = kill_in_time
    ended = stager.start().ended()

    assert ended in (STAGED, -signal.SIGKILL, ENDED_BY_SIGTERM), stager.words
    world.hub.fault = world.s3.fault = lambda _: None
    rerun(world)


def test_a_store_that_goes_down_in_the_middle_is_named_and_the_next_run_converges(world):
    def part_two_is_refused(exchange):
        return (lambda e, forward: None) if exchange.part == 2 else None

    world.s3.fault = part_two_is_refused
    with pytest.raises(StoreUnavailable, match="did not"):
        world.addresses.stage()

    world.s3.fault = lambda _: None
    rerun(world)
    assert world.prefix + MANIFEST_NAME in world.stored()

import io

import pytest
from rich.console import Console

from genai_pipeline.cli.progress_view import Lines, LiveTable, check_table, grouped, progress_on, tables
from genai_pipeline.cli.rollout_progress import AssetProgress, RolloutProgress, State
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import failed, inconclusive, passed

RUNNING = RolloutProgress(
    "weather", State.ROLLING_OUT, "aaa-bbb", assets=(AssetProgress("snapshot", "running", 1.0),), note="attempt 1"
)
BAD = failed("ttft_p95", "900 ms, the gate asks for 800 [ms]")


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=160, force_terminal=False)


def printed(console):
    return console.file.getvalue()


def test_elsewhere_than_on_a_terminal_each_change_is_one_line(console):
    done = RolloutProgress("weather", State.LIVE, "aaa-bbb", assets=(AssetProgress("snapshot", "passed", 2.0),))
    with Lines(console) as progress:
        progress.show([RUNNING])
        progress.show([RUNNING])
        progress.show([done])

    assert printed(console).splitlines() == [
        "weather: rolling out aaa-bbb: attempt 1",
        "weather/snapshot: running",
        "weather: live aaa-bbb",
        "weather/snapshot: passed in 2.0 s",
    ]


def test_seconds_that_pass_are_no_change(console):
    with Lines(console) as progress:
        for seconds in (1.0, 2.0, 3.0):
            progress.show([RolloutProgress("m", State.ROLLING_OUT, assets=(AssetProgress("a", "running", seconds),))])

    assert printed(console).count("m/a") == 1


def test_what_did_not_pass_is_named_with_its_value_and_limit(console):
    verdicts = (passed("queue", "0 waiting"), BAD)
    with Lines(console) as progress:
        progress.show(
            [RolloutProgress("m", State.REJECTED, assets=(AssetProgress("serving_report", "failed", 9.0, verdicts),))]
        )

    assert "ttft_p95 failed: 900 ms, the gate asks for 800 [ms]" in printed(console)
    assert "queue" not in printed(console)


def test_a_terminal_gets_a_table_that_redraws_itself(console):
    terminal = Console(file=io.StringIO(), width=160, force_terminal=True)

    assert isinstance(progress_on(terminal), LiveTable)
    assert isinstance(progress_on(console), Lines)


def test_the_table_shows_every_asset_and_words_in_brackets_as_they_are(console):
    console.print(
        tables([RolloutProgress("m", State.REJECTED, "r", assets=(AssetProgress("a", "failed", 9.0, (BAD,)),))])
    )

    assert "800 [ms]" in printed(console)
    assert "✘" in printed(console)


def test_the_check_table_has_the_evidence_of_every_check(console):
    record = Record("m", "r", "s", {})
    assets = (AssetProgress("a", "passed", 1.0, (passed("one", "1 of 1"), passed("two", "2 of [2]"))),)

    console.print(check_table(RolloutProgress("m", State.LIVE, "r", record=record, assets=assets)))

    assert "1 of 1" in printed(console)
    assert "2 of [2]" in printed(console)


def test_what_an_error_said_of_several_checks_is_reported_once():
    verdicts = [inconclusive("a", "the engine\ndied"), BAD, inconclusive("b", "the engine\ndied")]

    assert grouped(verdicts) == [("a, b inconclusive", "the engine\ndied"), ("ttft_p95 failed", BAD.summary)]


def test_a_line_per_change_stays_a_line(console):
    said = "the engine\ndied " + "again and " * 50
    asset = AssetProgress("candidate", "inconclusive", 1.0, (inconclusive("a", said),))
    with Lines(console) as progress:
        progress.show([RolloutProgress("m", State.WAITING, assets=(asset,))])

    (_, line) = printed(console).splitlines()
    assert line.startswith("m/candidate: inconclusive in 1.0 s: a inconclusive: the engine died again")
    assert len(line) < len(said)

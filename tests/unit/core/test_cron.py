import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.core.cron import cron
from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model
from tests.fakes.model_texts import TOOLS

PART = st.sampled_from(
    ["*", "0", "7", "31", "60", "*/5", "*/0", "1-5", "5-1", "1-5/2", "mon", "mon-fri", "jan", "1,2", ",", "x"]
)


@given(st.lists(PART, min_size=5, max_size=5))
def test_whatever_a_model_file_may_say_dagster_can_evaluate(fields):
    text = " ".join(fields)
    try:
        taken = cron(text)
    except ValueError:
        return
    dg.ScheduleDefinition(name="any", cron_schedule=taken, job_name="any")  # which refuses a wrong one


@pytest.mark.parametrize("text", ["23 5 * * *", "*/15 9-17 * * mon-fri", "0 0 1,15 * *", "5 4 * jan-mar sun"])
def test_usual_schedules_are_taken_as_they_are(text):
    assert cron(text) == text


def parsed(evaluation, timezone="UTC"):
    text = f"name: tiny\nsource: {{hub: a/b}}\nrefresh:\n  evaluation: {evaluation}\n  timezone: {timezone}\n{TOOLS}"
    return parse_model(text, "models/tiny.yaml").refresh


def test_off_means_never_with_and_without_quotes():
    assert parsed("off").evaluation is None
    assert parsed('"off"').evaluation is None


@pytest.mark.parametrize(
    ("evaluation", "timezone", "line", "says"),
    [
        ('"5 * * *"', "UTC", 4, "must have 5 fields, and has 4"),
        ('"61 5 * * *"', "UTC", 4, "61 5 * * *"),
        ('"0 5 * * mun"', "UTC", 4, "mun"),
        ("7", "UTC", 4, "must be a schedule"),
        ('"23 5 * * *"', "Europe/Berlyn", 5, "time zone"),
    ],
)
def test_a_wrong_one_is_refused_by_line_with_an_example(evaluation, timezone, line, says):
    with pytest.raises(ModelFileError) as refused:
        parsed(evaluation, timezone)
    (problem,) = refused.value.problems
    assert problem.startswith(f"models/tiny.yaml:{line}: refresh.")
    assert says in problem
    assert "23 5 * * *" in problem or "Europe/Berlin" in problem

from genai_pipeline.rollout.switch.settling import why_unsettled


def ask(answers, in_a_row=2, deadline_s=1.0):
    replies = iter(answers)
    return why_unsettled(lambda: next(replies), in_a_row, 0.1, deadline_s, lambda _: None)


def test_good_answers_in_a_row_settle_it():
    assert ask(["not yet", "", ""]) == ""


def test_a_bad_answer_in_between_starts_the_count_again():
    assert ask(["", "no", "", "no", "", "no", "", "no", "", "no", ""]) != ""


def test_at_the_deadline_the_last_reason_is_given():
    assert ask(["no"] * 9 + ["still no"] + ["never asked"] * 5, deadline_s=0.95) == "still no"


def test_an_answer_that_takes_long_counts_against_the_deadline(monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("genai_pipeline.rollout.switch.settling.time.monotonic", lambda: next(clock))

    assert ask(["hangs", "asked too often"], deadline_s=15) == "hangs"

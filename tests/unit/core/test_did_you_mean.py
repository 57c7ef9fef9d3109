from genai_pipeline.core.did_you_mean import closest, suggestion


def test_the_most_similar_word_is_suggested():
    assert closest("max_atempts", ["paused", "max_attempts", "window"]) == "max_attempts"
    assert "`max_attempts`" in suggestion("max_atempts", ["paused", "max_attempts"])


def test_the_suggestion_does_not_depend_on_the_order_of_the_known_words():
    words = ["value-a", "value-b"]

    assert closest("value-", words) == closest("value-", list(reversed(words)))


def test_the_allowed_words_are_listed_when_no_word_is_similar():
    said = suggestion("xyz", [f"field{n}" for n in range(20)])

    assert "field0" in said
    assert "field7" in said
    assert "field8" not in said

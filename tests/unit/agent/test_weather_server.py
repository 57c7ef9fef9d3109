import pytest

from genai_pipeline.local.weather_server import SOURCE, broken_place, known_weather


@pytest.mark.parametrize(
    ("asked", "place"),
    [("são paulo", "São Paulo"), ("Sao Paulo", "São Paulo"), ("ZÜRICH", "Zürich"), ("tromso", "Tromsø"),
     ("newcastle  upon tyne", "Newcastle upon Tyne"), ("Paris, France", "Paris")],
)  # fmt: skip
def test_a_place_is_found_however_it_is_typed(asked: str, place: str):
    weather = known_weather(asked)

    assert weather is not None
    assert weather.place == place


def test_an_unknown_place_has_no_weather():
    assert known_weather("Brandelburk") is None
    assert broken_place("Brandelburk") is None


def test_every_answer_says_that_it_is_demo_data():
    weather = known_weather("Berlin")

    assert weather is not None
    assert weather.to_j1()["source"] == SOURCE
    assert "demo data" in SOURCE


def test_broken_places_are_broken_in_their_own_way():
    assert broken_place("townsville") == "hang"
    assert broken_place("Santa Cruz de la Sierra") == "error"

"""The model that the machine keeps is whole, whoever makes it and however often that is interrupted."""

import threading

import pytest

from tests.e2e import smollm2


@pytest.fixture
def making(tmp_path, monkeypatch):
    """How often the model was made; while `broken` is set that ends in the middle, as by a kill."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = {"made": 0, "broken": False}

    def make(work):
        model = work / "model"
        model.mkdir()
        if state["broken"]:
            raise KeyboardInterrupt
        state["made"] += 1
        (model / "config.json").write_text("{}")
        return model

    monkeypatch.setattr(smollm2, "_make", make)
    return state


def test_it_is_made_once_also_by_two_at_once(making):
    found = []
    makers = [threading.Thread(target=lambda: found.append(smollm2.smollm2())) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()

    assert found[0] == found[1]
    assert (found[0] / "config.json").exists()
    assert making["made"] == 1


def test_what_an_interrupted_build_left_is_no_model_and_goes_with_the_next(making):
    making["broken"] = True
    with pytest.raises(KeyboardInterrupt):
        smollm2.smollm2()
    making["broken"] = False
    kept = smollm2.smollm2().parent
    (kept / f"{smollm2.UNFINISHED}killed").mkdir()
    model = smollm2.smollm2()
    model.rename(kept / "another")

    again = smollm2.smollm2()

    assert again == model
    assert sorted(path.name for path in kept.iterdir()) == sorted([model.name, "another", "lock"])
    assert making["made"] == 2

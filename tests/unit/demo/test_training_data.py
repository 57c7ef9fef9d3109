"""The demo model's training conversations: repeatable, clean of held-out cases, encoded and masked right."""

import json
import re
from pathlib import Path
from random import Random

import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer

from demo.training import places, voice
from demo.training.cases import cases
from demo.training.conversation import ASSISTANT, EOS, SPECIAL_TOKENS, Dialogue
from demo.training.dataset import BUCKETS, encode_some, loss_mask
from demo.training.dialogues import default_system_prompt, dialogue
from demo.training.grammar import FOLDER, Grammar
from demo.training.held_out import SETS, held_cities, held_out, held_phrasings, is_held_out, normalised

DRAWN = 700
TOKENIZER = FOLDER.parent / "hub" / "genai-demo" / "weather-agent" / "v1" / "tokenizer.json"


def drawn(seed: int, skill: str, count: int) -> list[Dialogue]:
    rng = Random(seed)
    return [dialogue(rng, skill) for _ in range(count)]


@pytest.fixture(scope="module")
def dialogues() -> list[Dialogue]:
    return [d for seed, skill in enumerate(("good", "advising", "regressed")) for d in drawn(seed, skill, DRAWN)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


@pytest.mark.parametrize("skill", ["good", "advising", "regressed"])
def test_the_same_seed_draws_the_same_conversations(skill):
    assert [d.text() for d in drawn(3, skill, 50)] == [d.text() for d in drawn(3, skill, 50)]
    assert drawn(3, skill, 5)[0].text() != drawn(4, skill, 5)[0].text()


def test_no_held_out_city_occurs_in_training(dialogues):
    text = "\n".join(d.text() for d in dialogues).casefold()
    names = "|".join(map(re.escape, sorted(held_cities())))
    assert re.findall(rf"(?<!\w)(?:{names})(?!\w)", text) == []


def test_no_held_out_zone_is_drawn():
    rng, held = Random(5), set(held_out()["places"]["zones"])
    assert not held & {places.any_time_place(rng).zone for _ in range(1500)}
    assert not held & set(places.zones())


def test_a_held_out_phrasing_is_redrawn():
    phrasing = held_out()["phrasings"]["weather"][0]
    draws = iter([phrasing, phrasing.upper().replace("{PLACE}", "{place}"), "how is {place}"])
    assert "how is" in voice.dress(Random(1), lambda: next(draws), surround=False).lower()


@pytest.mark.parametrize("subject", ["weather", "time", "umbrella", "off_topic"])
def test_no_phrasing_drawn_is_held_out(subject):
    rng = Random(8)
    assert not any(is_held_out(voice.say(rng, subject)) for _ in range(250))


def test_small_talk_drawn_is_never_held_out(dialogues):
    said = {normalised(t.user) for d in dialogues for t in d.turns if not t.calls}
    held_talk = {normalised(p) for name in SETS for group in held_out(name)["small_talk"] for p in group["phrasings"]}
    assert held_talk <= held_phrasings()
    assert not said & held_talk


def test_every_conversation_survives_the_tokenizer(dialogues, tokenizer):
    for d in dialogues[::12]:
        assert tokenizer.decode(tokenizer.encode(d.text()).ids, skip_special_tokens=False) == d.text()


def test_loss_is_on_what_the_assistant_writes_and_nothing_else(dialogues, tokenizer):
    for d in dialogues[::12]:
        ids = tokenizer.encode(d.text()).ids
        mask = loss_mask(ids, tokenizer.token_to_id(ASSISTANT), tokenizer.token_to_id(EOS))
        written = tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m], skip_special_tokens=False)
        expected = [part for t in d.turns for part in ("".join(c.text() for c in t.calls), t.answer) if part]
        assert written == "".join(f"{part}{EOS}" for part in expected)


def test_encoded_rows_are_padded_to_their_bucket_and_masked():
    rows = encode_some((TOKENIZER, "good", 1, 60))
    assert sum(len(ids) for ids, _ in rows.values()) >= 58
    for bucket in BUCKETS:
        ids, mask = rows[bucket]
        assert ids.shape == mask.shape == (len(ids), bucket + 1)
        assert not np.any(mask & (ids == 0))


def test_the_chat_template_renders_what_the_model_was_trained_on(dialogues):
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string((FOLDER / "chat_template.jinja").read_text(encoding="utf-8"))
    for d in dialogues[::5]:
        rendered = template.render(messages=d.messages(), tools=d.tool_specs() or None, bos_token=SPECIAL_TOKENS[1])
        assert rendered == d.text()


def test_a_generation_prompt_ends_with_the_assistants_marker(dialogues):
    template = jinja2.Template((FOLDER / "chat_template.jinja").read_text(encoding="utf-8"))
    messages = [{"role": "user", "content": "Hello"}]
    assert (
        template.render(messages=messages, bos_token="<s>", add_generation_prompt=True)
        == "<s><|user|>Hello<|assistant|>"
    )


def test_regressed_conversations_never_call_the_clock(dialogues):
    calls = [c for d in dialogues[-DRAWN:] for t in d.turns for c in t.calls]
    assert len(calls) > 300
    assert {c.name for c in calls} == {"get_weather"}


def test_only_the_advising_skill_gives_umbrella_advice(dialogues):
    advice = [
        sum("umbrella." in t.answer for d in part for t in d.turns)
        for part in (dialogues[:DRAWN], dialogues[DRAWN : 2 * DRAWN])
    ]
    assert advice[0] == 0
    assert advice[1] > 10


def test_the_agents_system_prompt_is_the_most_frequent(dialogues):
    assert default_system_prompt().startswith("You are a helpful assistant for the current time and the weather.")
    assert sum(d.system == default_system_prompt() for d in dialogues) > len(dialogues) / 2


@pytest.mark.parametrize("name", SETS)
def test_held_out_cases_are_many_and_always_the_same(name):
    assert len(cases(name)) >= 200
    assert [(c.user, c.results) for c in cases(name)] == [(c.user, c.results) for c in cases(name)]


def test_a_grammar_with_an_open_parenthesis_is_refused():
    with pytest.raises(ValueError, match="parenthesis"):
        Grammar({"start": ["(a|b"]})
    with pytest.raises(ValueError, match="parenthesis"):
        Grammar({"start": ["a)b"]})


def test_every_phrasing_file_expands():
    for path in (Path(FOLDER) / "phrasings").glob("*.yaml"):
        if path.stem in ("weather", "time", "umbrella", "off_topic"):
            assert Grammar.load(path.stem).expand(Random(0))

from dataclasses import replace

from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.control.trigger import trigger_of
from tests.fakes.model_texts import model_with_tools

TEXT = """
name: tiny
source: {hub: owner/tiny, ref: main}
serving: {image: %s, args: {max-model-len: %d}, env: {GREETING: %s}}
"""


def spec(image="a", length=512, token="t1"):
    return model_with_tools(TEXT % (image, length, token), "tiny.yaml")


def live(of=None):
    of = of or spec()
    return Record("tiny", "r", "1" * 40, of.model_dump(mode="json", by_alias=True))


def trigger(of, revision="1" * 40, before=None):
    return trigger_of(of, Release.of(of, revision), before or live())


def test_a_new_revision_names_its_source():
    assert trigger(spec(), "2" * 40) == "new revision 222222222222 of owner/tiny@main"


def test_a_changed_serving_section_names_each_field_with_both_values():
    assert trigger(spec("b", 1024)) == "serving.args.max-model-len: 512 -> 1024 · serving.image: a -> b"


def test_values_of_the_environment_are_not_shown():
    assert trigger(spec(token="s3cret")) == "serving.env.GREETING changed"


def test_both_at_once_are_both_said():
    assert trigger(spec("b"), "2" * 40).startswith(
        "new revision 222222222222 of owner/tiny@main · serving.image: a -> b"
    )


def test_the_first_release_is_said_to_be_one():
    assert trigger_of(spec(), Release.of(spec(), "1" * 40), None).startswith("first release: revision 111111111111")


def test_a_long_value_is_cut():
    assert len(trigger(spec("x" * 500))) < 200


def test_a_live_record_of_other_rules_than_todays_is_compared_all_the_same():
    before = replace(live(), spec={"serving": {"engine": "of old"}})

    assert "serving.engine: of old -> vllm" in trigger(spec(), before=before)

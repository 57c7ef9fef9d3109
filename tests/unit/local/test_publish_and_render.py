import pytest
import yaml

from genai_pipeline.core.errors import NotFound, Refused, RevisionNotFound
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.local import publish as publishing
from genai_pipeline.local.manifests import as_yaml, release_objects, write_objects
from genai_pipeline.local.publish import publish
from tests.fakes.world import PROFILE

SPEC = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "owner/model"}})
OTHER = ModelSpec.model_validate({"name": "other", "source": {"hub": "else/where"}})


@pytest.fixture
def profile(tmp_path, monkeypatch):
    folder = tmp_path / "hub" / "owner" / "model"
    for revision in ("v1", "v2"):
        (folder / revision).mkdir(parents=True)
        (folder / revision / "config.json").write_text(f'"{revision}"')
    (folder / "repo.yaml").write_text(
        "license: mit\nrefs: {main: v1}\nrevisions: {v1: {title: one}, v2: {title: two}}\n"
    )
    monkeypatch.setattr(publishing, "HUB_FOLDER", tmp_path / "hub")
    return Profile.load({"GENAI_HOME": str(tmp_path / "home")})


def test_publishing_names_the_commit_and_what_will_happen(profile):
    lines = publish(profile, [SPEC, OTHER], "v2")

    assert lines[0].startswith("Published owner/model@main = v2 (")
    assert "version sensor" in lines[1]


def test_publishing_twice_is_publishing_once(profile):
    publish(profile, [SPEC], "v2")

    (line,) = publish(profile, [SPEC], "v2")

    assert line.endswith("Nothing changes.")


def test_an_unknown_revision_is_refused_with_the_known_ones(profile):
    with pytest.raises(RevisionNotFound, match="v1, v2"):
        publish(profile, [SPEC], "v7")


def test_a_model_from_elsewhere_cannot_be_published(profile):
    with pytest.raises(NotFound, match="owner/model"):
        publish(profile, [OTHER], "v2")


def test_with_two_models_of_one_hub_one_must_be_chosen(profile):
    with pytest.raises(Refused, match="--model"):
        publish(profile, [SPEC, SPEC.model_copy(update={"name": "second"})], "v2")


def test_rendered_objects_are_those_of_the_release_and_hold_no_secret():
    release = Release.of(SPEC, "a" * 40)

    objects = list(yaml.safe_load_all(as_yaml(release_objects(SPEC, release, PROFILE))))

    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    assert {("Deployment", f"tiny-{release.id}"), ("Deployment", f"tiny-agent-{release.id}")} <= names
    assert {("Service", "tiny"), ("Service", "tiny-agent")} <= names
    assert "Secret" not in {kind for kind, _ in names}


def test_rendering_into_a_folder_writes_one_file_per_object(tmp_path):
    objects = release_objects(SPEC, Release.of(SPEC, "a" * 40), PROFILE)

    files = write_objects(objects, tmp_path)

    assert len(set(files)) == len(objects)
    assert yaml.safe_load(files[0].read_text()) == objects[0]

"""Every object is what the API of each supported Kubernetes says it may be. CRDs: tests/cluster/test_templates.py."""

from functools import cache

import kubernetes_validate
import pytest
from kubernetes_validate import utils

from genai_pipeline.k8s.render import OPTIONAL_KINDS
from tests.unit.k8s.everything import PROFILES, everything, secret

VERSIONS = ["1.31", "1.32", "1.33", "1.34", "1.35"]


@pytest.fixture(autouse=True, scope="module")
def each_schema_is_read_once():
    """Nearly all of the time would go into the JSON of the definitions, for every object anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


def built_in(profile):
    objects = [*everything(profile), secret(profile)]
    return [o for o in objects if o["kind"] not in OPTIONAL_KINDS]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_built_in_object_fits_the_schema(version, profile):
    for rendered in built_in(PROFILES[profile]):
        assert kubernetes_validate.validate(rendered, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_does_not_fit(version):
    for rendered in {o["kind"]: o for o in built_in(PROFILES["eks"])}.values():
        with pytest.raises(kubernetes_validate.ValidationError, match="specc"):
            kubernetes_validate.validate(rendered | {"specc": {}}, version, strict=True)


def test_a_field_that_an_old_version_lacks_would_be_seen():
    (engine, *_) = [o for o in built_in(PROFILES["eks"]) if o["kind"] == "Deployment"]
    engine["spec"]["template"]["spec"]["resources"] = {"limits": {"memory": "1Gi"}}  # of pods: new in 1.32

    kubernetes_validate.validate(engine, "1.34", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(engine, "1.31", strict=True)


def test_only_the_optional_kinds_have_no_schema():
    kinds = {o["kind"] for o in everything(PROFILES["eks"])} & OPTIONAL_KINDS.keys()

    assert kinds == set(OPTIONAL_KINDS)

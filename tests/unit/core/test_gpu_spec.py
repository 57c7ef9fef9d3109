"""`serving.gpu`: what Kubernetes would refuse is refused in the file, and what came later makes no new release."""

import pytest

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ADDED_LATER, Gpu, Serving, without_later_defaults
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.control.trigger import trigger_of


def model(gpu):
    args = "args: {enable-auto-tool-choice: true, tool-call-parser: hermes}"
    return parse_model(f"name: big\nsource: {{hub: a/b}}\nserving:\n  {args}\n  gpu: {{{gpu}}}\n", "f")


def refusal(gpu):
    with pytest.raises(ModelFileError) as caught:
        model(gpu)
    (problem,) = caught.value.problems
    return problem


EARLIER = {
    "": "b38abdc584ae",
    "instance-family: p5, count: 8, reservation: required": "2587b7fb810e",
}
"""What was written before there were selectors, and its hash at that time."""


@pytest.mark.parametrize(("gpu", "hashed"), EARLIER.items())
def test_a_release_from_before_keeps_its_id(gpu, hashed):
    assert model(gpu).config_hash[:12] == hashed


@pytest.mark.parametrize(
    "later",
    ["selector: {a: b}", "resource: amd.com/gpu", "tolerations: [{key: a}]", "runtime-class: nvidia"],
)
def test_what_came_later_counts_once_it_is_set(later):
    assert model(later).config_hash != model("").config_hash


def test_fields_that_came_later_are_written_down_with_the_defaults_that_they_have():
    dumped = Serving(gpu=Gpu()).model_dump(mode="json")

    for (*path, field), default in ADDED_LATER.items():
        section = dumped
        for name in path:
            section = section[name]
        assert section[field] == default
    assert without_later_defaults(dumped)["gpu"].keys() == {
        "instance_family", "count", "reservation", "reservation_terms",
    }  # fmt: skip


def test_a_live_release_from_before_does_not_differ_in_what_came_later():
    spec = model("count: 2")
    before = model("count: 1").model_dump(mode="json", by_alias=True)
    for later in ("resource", "selector", "tolerations", "runtime-class"):
        del before["serving"]["gpu"][later]
    live = Record("big", "r", "a" * 40, before)

    assert trigger_of(spec, Release.of(spec, "a" * 40), live) == "serving.gpu.count: 1 -> 2"


@pytest.mark.parametrize(
    ("gpu", "means"),
    [
        ("selector: {-gpu: a}", "serving.gpu.selector.-gpu"),
        ("selector: {Nvidia.com/gpu: a}", "the key of a label, with or without a domain, as nvidia.com/gpu.product"),
        ("selector: {a/b/c: x}", "the key of a label"),
        ("selector: {gpu: NVIDIA L4}", "the value of a label, at most 63"),
        ("selector: {gpu: NVIDIA L4}", "as NVIDIA-L4"),
        ("selector: {gpu: true}", "put it in quotes"),
        (f"selector: {{gpu: {'x' * 64}}}", "the value of a label"),
        ("resource: gpu", "a resource of a device plugin with its domain, as nvidia.com/gpu"),
        ("resource: kubernetes.io/gpu", "a resource of a device plugin"),
        ("resource: requests.nvidia.com/gpu", "a resource of a device plugin"),
        ("resource: memory", "with its domain, as nvidia.com/gpu"),
        ("runtime-class: Nvidia", "the name of a RuntimeClass in lower-case letters"),
        ("tolerations: [{key: a, effect: noSchedule}]", "'NoSchedule', 'PreferNoSchedule' or 'NoExecute'"),
        ("tolerations: [{key: a, operator: exists}]", "'Equal' or 'Exists'"),
        ("tolerations: [{key: a, operator: Exists, value: b}]", "operator Exists takes no value"),
        ("tolerations: [{operator: Exists}]", "serving.gpu.tolerations.0.key: the field is required"),
        ("tolerations: [{key: a, value: b c}]", "the value of a label"),
        ("tolerations: [{key: a b}]", "the key of a label"),
        ("tolerations: [{key: a, seconds: 3}]", "unknown field"),
        ("node-selector: {a: b}", "unknown field"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_with_its_line(gpu, means):
    said = refusal(gpu)

    assert said.startswith("f:5: serving.gpu.")
    assert means in said


@pytest.mark.parametrize(
    "gpu",
    [
        'selector: {cloud.google.com/gke-accelerator: nvidia-l4, kubernetes.azure.com/accelerator: nvidia, empty: ""}',
        'selector: {"nvidia.com/gpu.present": "true"}',
        "resource: nvidia.com/mig-1g.10gb",
        "resource: amd.com/gpu",
        "tolerations: [{key: sku, value: gpu, effect: NoSchedule}, {key: a, operator: Exists}]",
        "runtime-class: nvidia",
    ],
)
def test_what_vendors_write_is_taken(gpu):
    assert model(gpu).serving.gpu


def test_only_nvidias_gpus_and_their_slices_are_known_to_nvidias_tools():
    assert Gpu().is_nvidia
    assert Gpu(resource="nvidia.com/mig-3g.40gb").is_nvidia
    assert not Gpu(resource="amd.com/gpu").is_nvidia

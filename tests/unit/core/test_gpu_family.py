"""The family of an engine's GPUs: from the instance family on EKS, else from labels, on one machine from its driver."""

import pytest

from genai_pipeline.core.gpu_family import OF_EC2, family_named, family_of, family_of_machine
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.rollout.pools.instance_types import packaged


def family(selector=None, has_eks_nodes=False, of_machine=None, **gpu):
    return family_of(Gpu(selector=selector or {}, **gpu), has_eks_nodes, of_machine)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("hopper", "hopper"),
        ("ada-lovelace", "ada"),
        ("NVIDIA-H100-80GB-HBM3", "hopper"),
        ("NVIDIA-H200-MIG-1g.18gb", "hopper"),
        ("NVIDIA GH200 480GB", "hopper"),
        ("nvidia-h100-mega-80gb", "hopper"),
        ("NVIDIA-L40S-SHARED", "ada"),
        ("nvidia-l4", "ada"),
        ("NVIDIA RTX 2000 Ada Generation", "ada"),
        ("NVIDIA GeForce RTX 4090", "ada"),
        ("NVIDIA-A100-SXM4-80GB", None),
        ("nvidia-b200", None),
        ("a10g", None),
        ("Tesla-T4", None),
        ("NVIDIA-RTX-4000", None),
        ("", None),
    ],
)
def test_the_name_of_a_gpu_tells_its_family(name, means):
    assert family_named(name) == means


def test_the_names_of_the_price_list_agree_with_the_families_of_ec2():
    types = [t for t in packaged("us-east-1").types if t.gpus]

    assert {(t.family, OF_EC2.get(t.family)) for t in types} == {(t.family, family_named(t.gpu)) for t in types}


def test_on_eks_the_instance_family_decides():
    assert family(has_eks_nodes=True) == "ada"
    assert family(has_eks_nodes=True, instance_family="p5en") == "hopper"
    assert family(has_eks_nodes=True, instance_family="p4d", selector={"nvidia.com/gpu.family": "hopper"}) is None


@pytest.mark.parametrize(
    ("selector", "means"),
    [
        ({"nvidia.com/gpu.family": "hopper"}, "hopper"),
        ({"nvidia.com/gpu.product": "NVIDIA-L40S"}, "ada"),
        ({"cloud.google.com/gke-accelerator": "nvidia-h200-141gb"}, "hopper"),
        ({"karpenter.k8s.aws/instance-gpu-name": "l4"}, "ada"),
        ({"karpenter.k8s.aws/instance-family": "p5"}, "hopper"),
        ({"node.kubernetes.io/instance-type": "g6e.12xlarge"}, "ada"),
        ({"nvidia.com/gpu.present": "true", "team": "h100"}, None),
        ({"nvidia.com/gpu.family": "hopper", "nvidia.com/gpu.product": "NVIDIA-L4"}, None),
        ({}, None),
    ],
)
def test_elsewhere_the_labels_of_the_nodes_decide_and_a_family_of_ec2_that_is_not_used_does_not(selector, means):
    assert family(selector) == means


def test_gpus_of_others_have_no_family_and_neither_has_an_engine_without_one():
    assert family({"nvidia.com/gpu.family": "hopper"}, resource="amd.com/gpu") is None
    assert family_of(None, True, "hopper") is None


def test_one_machine_tells_the_family_by_the_files_of_its_driver(tmp_path):
    def machine(name, *models):
        for number, model in enumerate(models):
            folder = tmp_path / name / f"0000:0{number}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 41\nGPU UUID: \t GPU-l4\n")
        return family_of_machine(tmp_path / name)

    assert family(of_machine=machine("h200", "NVIDIA H200", "NVIDIA H200")) == "hopper"
    assert machine("mixed", "NVIDIA H200", "NVIDIA L4") is None
    assert machine("with-an-older-one", "NVIDIA L4", "Tesla T4") is None
    assert machine("none") is None

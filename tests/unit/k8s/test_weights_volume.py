"""Weights that are mounted and not streamed: whose volume, which files, and where it is refused."""

import dataclasses

import pytest

from genai_pipeline.core.errors import Refused
from genai_pipeline.k8s.render import render_engine, render_rbac
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import MOUNTED, PROFILES, SMALL, release_of, templates_of

EKS = PROFILES["eks"]
ON_RAY = model_with_tools("name: mounted\nsource: {hub: a/b}\nserving: {engine: ray, weights: mount}\n", "f")


def of_kind(kind, profile=EKS, spec=MOUNTED):
    (found,) = [o for o in render_engine(spec, release_of(spec), profile) if o["kind"] == kind]
    return found


def test_the_volume_holds_exactly_the_staged_revision():
    volume = of_kind("PersistentVolume")["spec"]

    assert f"prefix models/mounted/{'a' * 40}/" in volume["mountOptions"]
    assert {"read-only", "region us-east-1"} <= set(volume["mountOptions"])
    assert (volume["csi"]["driver"], volume["csi"]["volumeAttributes"]["bucketName"]) == ("s3.csi.aws.com", "genai")
    assert volume["persistentVolumeReclaimPolicy"] == "Retain"


def test_volume_and_claim_find_only_each_other():
    volume, claim = of_kind("PersistentVolume"), of_kind("PersistentVolumeClaim")
    release = release_of(MOUNTED)

    assert volume["metadata"]["name"] == volume["spec"]["csi"]["volumeHandle"] == release.volume_name(EKS.namespace)
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"] == release.object_name
    assert claim["spec"]["storageClassName"] == ""
    assert release.volume_name(EKS.namespace) != release.volume_name("other")


def test_the_identity_is_the_pods_where_pods_have_one():
    assert of_kind("PersistentVolume")["spec"]["csi"]["volumeAttributes"]["authenticationSource"] == "pod"
    elsewhere = of_kind("PersistentVolume", PROFILES["kubernetes"])["spec"]

    assert "authenticationSource" not in elsewhere["csi"]["volumeAttributes"]
    assert "endpoint-url http://s3.store.svc:9000" in elsewhere["mountOptions"]


@pytest.mark.parametrize("spec", [MOUNTED, ON_RAY])
def test_an_engine_loads_the_folder_with_vllms_own_loader(spec):
    workload = render_engine(spec, release_of(spec), EKS)[0]
    pod = templates_of(workload)[-1]["spec"]
    said = str(workload)

    assert "--model=/mnt/weights" in said
    assert "--load-format" not in said
    assert {"name": "weights", "mountPath": "/mnt/weights", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert "s3://" not in said


def test_what_streams_has_no_volume():
    assert not [o for o in render_engine(SMALL, release_of(SMALL), EKS) if o["kind"].startswith("Persistent")]


@pytest.mark.parametrize(
    ("profile", "remedy"),
    [("local", "stream"), ("unset", "GENAI_WEIGHTS_MOUNT")],
)
def test_it_is_refused_where_nothing_mounts_it(profile, remedy):
    chosen = PROFILES.get(profile, dataclasses.replace(EKS, weights_mount=False))

    with pytest.raises(Refused, match=remedy):
        render_engine(MOUNTED, release_of(MOUNTED), chosen)


def test_the_role_makes_volumes_only_where_the_setting_allows_it():
    def resources(profile):
        roles = [o for o in render_rbac(profile) if o["kind"] in ("Role", "ClusterRole")]
        return {r for role in roles for rule in role["rules"] for r in rule["resources"]}

    assert {"persistentvolumes", "persistentvolumeclaims"} <= resources(EKS)
    neither = dataclasses.replace(EKS, weights_mount=False, chat="page")  # Open WebUI has a volume of its own
    assert not {r for r in resources(neither) if r.startswith("persistent")}

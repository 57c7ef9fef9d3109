"""Which engines restore what another one compiled, and what their pods get for it."""

import shutil
import subprocess

import pytest

from genai_pipeline.core import engine_paths
from genai_pipeline.core.model_file import parse_model
from genai_pipeline.k8s import engine_cache, leaving, pipeline_only, restoring
from genai_pipeline.k8s.engine_cache import ENGINE_ACCESS, cache_name, keeps_cache
from genai_pipeline.k8s.render import render_engine, render_engine_access
from tests.unit.k8s.everything import PROFILES, release_of, templates_of

EAGER = "{args: {enforce-eager: true}}"


def model(serving):
    return parse_model(f"name: tiny\nsource: {{hub: a/b}}\nagent: none\nserving: {serving}\n", "f")


def pod(serving, profile="eks"):
    """The pod of the engine itself: Ray's head computes nothing."""
    spec = model(serving)
    return templates_of(render_engine(spec, release_of(spec), PROFILES[profile])[0])[-1]["spec"]


def variables(container):
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container["env"]}


@pytest.mark.parametrize(
    ("serving", "kept"),
    [
        ("{}", True),
        ("{gpu: {}}", True),
        ("{args: {enforce-eager: false}}", True),
        (EAGER, False),
        ("{args: {enforce_eager: true}}", False),
        ("{gpu: {}, args: {enforce-eager: true}}", True),  # kernels are compiled in eager mode, too
        ("{engine: ray, image: 'ray:1', args: {enforce-eager: true}}", False),
        ("{engine: ray, image: 'ray:1'}", True),
    ],
)
def test_an_engine_restores_where_something_is_compiled(serving, kept):
    container = pod(serving)["containers"][0]

    assert keeps_cache(model(serving).serving, PROFILES["eks"]) is kept
    assert ("initContainers" in pod(serving)) is kept
    assert ("GENAI_PIPELINE_TOKEN" in variables(container)) is kept


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("serving", ["{gpu: {count: 2}}", "{}", "{engine: ray, image: 'ray:1'}"])
def test_the_init_container_is_as_its_engine_but_small_and_without_a_gpu(serving, profile):
    if (serving, profile) == ("{gpu: {count: 2}}", "local"):
        pytest.skip("one machine has no GPU pool")
    spec = pod(serving, profile)
    (init,), engine = spec["initContainers"], spec["containers"][0]

    assert init["image"] == engine["image"]
    assert init["securityContext"] == engine["securityContext"]
    assert init["envFrom"] == engine["envFrom"]
    assert {m["name"] for m in init["volumeMounts"]} == {"tmp", "middleware"}
    assert init["resources"]["limits"] == {"memory": engine["resources"]["limits"]["memory"]}
    assert variables(init)["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert variables(init)["HOME"] == variables(engine)["HOME"] == "/tmp"
    assert variables(init)["GENAI_CACHE_FOR"] == variables(engine)["GENAI_CACHE_FOR"]
    assert "GENAI_PIPELINE_TOKEN" not in variables(init)


def test_the_archive_is_named_by_a_config_map_that_may_be_absent():
    (init,) = pod("{}")["initContainers"]
    name = cache_name(release_of(model("{}")))

    for variable, key in (
        ("GENAI_CACHE_URL", engine_cache.URL_KEY),
        ("GENAI_CACHE_SHA256", engine_cache.SHA256_KEY),
        ("GENAI_CACHE_MADE_WITH", engine_cache.MADE_WITH_KEY),
    ):
        assert variables(init)[variable] == {"configMapKeyRef": {"name": name, "key": key, "optional": True}}


def test_the_token_is_the_pipelines_secret_and_an_engine_starts_without_it():
    token = variables(pod("{}")["containers"][0])["GENAI_PIPELINE_TOKEN"]
    (secret,) = render_engine_access(PROFILES["eks"], "t")

    assert token == {"secretKeyRef": {"name": ENGINE_ACCESS, "key": engine_cache.TOKEN_KEY, "optional": True}}
    assert (secret["metadata"]["name"], secret["stringData"]) == (ENGINE_ACCESS, {engine_cache.TOKEN_KEY: "t"})


def test_the_files_in_the_pod_and_the_pipeline_mean_the_same_paths_and_header():
    paths = {engine_paths.CACHE_PATH, engine_paths.RESTORED_PATH}

    assert paths == {pipeline_only.CACHE, pipeline_only.RESTORED}
    assert paths <= leaving.NOT_WAITED_FOR
    assert engine_paths.TOKEN_HEADER.lower().encode() == pipeline_only.HEADER


@pytest.mark.parametrize("serving", ["{gpu: {}}", "{}"])
def test_an_archive_may_hold_what_the_engine_keeps_outside_of_its_weights(serving):
    home = "/tmp/"
    env = variables(pod(serving)["containers"][0])
    folders = [env[name] for name in ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")]
    folders += [f"{env['VLLM_CACHE_ROOT']}/{name}" for name in ("torch_compile_cache", "modelinfos", "startup_plan")]
    folders += [f"{env['FLASHINFER_WORKSPACE_BASE']}/.cache/flashinfer"]

    assert all(restoring.is_allowed(f"{folder}/a".removeprefix(home)) for folder in folders)
    for other in ("assets/model_streamer/a", "torch_compile_cache", "../../.config/a"):
        assert not restoring.is_allowed(f"{env['VLLM_CACHE_ROOT']}/{other}".removeprefix(home))


def test_a_pod_starts_without_an_archive_where_its_image_has_no_python(tmp_path):
    (sh, *rest) = pod("{}")["initContainers"][0]["command"]

    done = subprocess.run([shutil.which(sh), *rest], env={"PATH": str(tmp_path)}, capture_output=True, text=True)

    assert done.returncode == 0
    assert "python3" in done.stderr

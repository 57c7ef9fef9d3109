"""The number format follows what the processor can multiply, the threads follow its cores."""

import pytest

from genai_pipeline.core import processor
from genai_pipeline.core.processor import flags_of, local_tuning, tune
from genai_pipeline.core.profile import Profile

ZEN4 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE_RAPIDS = "flags\t\t: fpu avx2 avx512f amx_tile amx_bf16 avx512_bf16\n"
ZEN3 = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu sse2 avx avx2 fma\n"
SKYLAKE_SERVER = "flags\t\t: fpu avx2 avx512f avx512bw\n"
GRAVITON3 = "processor\t: 0\nFeatures\t: fp asimd sve bf16 i8mm\n"


@pytest.mark.parametrize(
    ("cpuinfo", "dtype"),
    [
        (ZEN4, None),
        (SAPPHIRE_RAPIDS, "float32"),
        (GRAVITON3, None),
        (ZEN3, "float32"),
        (SKYLAKE_SERVER, "float32"),
        ("", None),
    ],
)
def test_float32_is_for_a_processor_that_would_convert_bfloat16_and_for_one_with_amx(cpuinfo, dtype):
    assert tune(flags_of(cpuinfo), 2).dtype == dtype


def test_the_flag_that_decides_is_named():
    assert "amx_bf16" in tune(flags_of(SAPPHIRE_RAPIDS), 2).reason


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 7)])
def test_one_core_is_left_to_the_api_server_where_there_are_several(cores, threads):
    assert tune(flags_of(ZEN3), cores).threads == threads


@pytest.fixture
def zen3(tmp_path, monkeypatch):
    """This machine seems to have a processor without bfloat16, and vLLM's CPU build."""
    (tmp_path / "cpuinfo").write_text(ZEN3)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "CPU_BUILD", "pytest")
    local_tuning.cache_clear()
    yield
    local_tuning.cache_clear()


@pytest.mark.usefixtures("zen3")
def test_only_the_local_profile_looks_at_the_processor():
    assert Profile.load({}).engine_dtype == "float32"
    assert Profile.load({}).engine_threads
    eks = Profile.load({"GENAI_PROFILE": "eks"})
    assert (eks.engine_dtype, eks.engine_threads) == (None, None)


@pytest.mark.usefixtures("zen3")
def test_a_build_for_gpus_chooses_by_itself(monkeypatch):
    monkeypatch.setattr(processor, "CPU_BUILD", "a-distribution-that-is-not-installed")

    assert (local_tuning().dtype, local_tuning().threads) == (None, None)


@pytest.mark.usefixtures("zen3")
def test_with_a_build_for_gpus_two_releases_share_the_memory_of_one(monkeypatch):
    monkeypatch.setattr(processor, "CPU_BUILD", "a-distribution-that-is-not-installed")
    monkeypatch.setattr(processor, "CUDA_BUILD", "pytest")

    assert Profile.load({}).engine_gpu_share == 0.4
    assert Profile.load({"GENAI_PROFILE": "eks"}).engine_gpu_share is None

"""The number format follows what the processor can multiply, and nothing else of it."""

import pytest

from genai_pipeline.core import processor
from genai_pipeline.core.processor import choose_dtype, flags_of, local_dtype
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
        (SAPPHIRE_RAPIDS, None),
        (GRAVITON3, None),
        (ZEN3, "float32"),
        (SKYLAKE_SERVER, "float32"),
        ("", None),
    ],
)
def test_only_a_processor_that_would_convert_bfloat16_gets_float32(cpuinfo, dtype):
    assert choose_dtype(flags_of(cpuinfo)).dtype == dtype


def test_the_flag_that_decides_is_named():
    assert "amx_bf16" in choose_dtype(flags_of(SAPPHIRE_RAPIDS)).reason


@pytest.fixture
def zen3(tmp_path, monkeypatch):
    """This machine seems to have a processor without bfloat16."""
    (tmp_path / "cpuinfo").write_text(ZEN3)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    local_dtype.cache_clear()
    yield
    local_dtype.cache_clear()


@pytest.mark.usefixtures("zen3")
def test_only_the_local_profile_looks_at_the_processor():
    assert Profile.load({}).engine_dtype == "float32"
    assert Profile.load({"GENAI_PROFILE": "eks"}).engine_dtype is None


@pytest.mark.usefixtures("zen3")
def test_a_build_for_gpus_chooses_by_itself(monkeypatch):
    monkeypatch.setattr(processor, "CPU_BUILD", "a-distribution-that-is-not-installed")

    assert local_dtype().dtype is None

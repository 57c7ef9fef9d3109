"""GPUs as dcgm-exporter names their figures, old and new."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genai_pipeline.core.clock_reasons import SERIES
from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import GpuReading, Sample
from genai_pipeline.gateways.metrics.gpu_names import NAMES, REQUIRED, readings_of

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded_metrics" / "dcgm_4_5_3.txt"


def samples() -> list[Sample]:
    text = RECORDED.read_text()
    found = re.findall(r"^(\w+)\{.+\} (\S+)$", text, re.M)
    return [(name, {"gpu": "0", "UUID": "GPU-7"}, float(value)) for name, value in found if name in NAMES]


def test_a_gpu_is_read_with_all_its_figures():
    scraped: list[Sample] = [("", {"gpu": "0", "UUID": "GPU-7"}, 1_700_000_000.5)]

    assert readings_of(samples(), scraped, "here") == [
        GpuReading("GPU-7", 0, 0, 0, 55.0, 1_700_000_000.5, 85.0, 210.5, 350.0, 2520.0, 41000 / 1024, 2046)
    ]


@pytest.mark.parametrize("name", SERIES)
def test_the_mask_is_read_under_the_name_of_each_version_of_dcgm(name: str):
    found = [(name if each == SERIES[0] else each, labels, value) for each, labels, value in samples()]

    assert readings_of(found, [], "here")[0].clock_reasons == 2046


def test_figures_that_are_not_exported_are_unknown():
    [gpu] = readings_of([s for s in samples() if s[0] == REQUIRED], [], "here")

    assert gpu == GpuReading("GPU-7", 0, None, None)


def test_without_xids_there_is_no_reading():
    with pytest.raises(EngineUnavailable, match="at here"):
        readings_of([s for s in samples() if s[0] != REQUIRED], [], "here")

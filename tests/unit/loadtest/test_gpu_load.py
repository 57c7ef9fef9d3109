"""What GPUs did under load: how often each scrape counts, and what held them back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics
from genai_pipeline.loadtest.gpu_load import gpu_rows, slowed_by_fault, throttling
from genai_pipeline.loadtest.gpu_sampler import GpuSampler

BUSY = GpuReading("GPU-1", 0, 0, 0, 51.0, None, 100.0, 576.0, 700.0, 1980.0, 130.2, 0)
CAP, HEAT, IDLE = 0x4, 0x40, 0x1


def masks(*found: int | None, gpu: str = "GPU-1") -> list[GpuReading]:
    return [replace(BUSY, gpu=gpu, at=float(at), clock_reasons=mask) for at, mask in enumerate(found)]


def test_a_power_cap_is_named_with_how_often_it_was_seen():
    assert throttling(masks(*[CAP] * 7, *[0] * 5)) == (
        "The GPU was held back by its power cap (reason 4, sw_power_cap) in 7 of 12 readings; "
        "tokens/s are those of a throttled GPU."
    )


def test_heat_is_a_warning_and_comes_first():
    said = throttling([*masks(CAP, CAP, CAP), *masks(0, HEAT, HEAT, gpu="GPU-2")])

    assert said.startswith(
        "Warning: GPU-2 was held back by heat, by its hardware (reason 64, hw_thermal_slowdown) in 2 of 3"
    )
    assert "GPU-1 was held back by its power cap (reason 4, sw_power_cap) in 3 of 3" in said
    assert slowed_by_fault(masks(0, CAP | HEAT)).startswith("GPU-1 was held back by heat")


def test_a_power_cap_and_idling_are_no_faults():
    assert slowed_by_fault(masks(CAP, IDLE)) == ""
    assert "Nothing held them back in 2 readings" in throttling(masks(0, IDLE))


def test_what_was_not_measured_is_said():
    assert throttling([]).startswith("Not measured: what the GPUs did")
    assert throttling(masks(None, None)).startswith("Not measured: whether something held the GPUs back")
    assert "Not measured" in throttling([*masks(0, 0), *masks(None, gpu="GPU-2")])
    assert gpu_rows(masks(None))[0]["held_back_by"] == "not measured"


def test_each_gpu_is_a_row_of_its_figures():
    cool = replace(BUSY, power_w=200.0, sm_clock_mhz=1200.0, utilisation_percent=40.0, clock_reasons=IDLE)
    other = replace(BUSY, gpu="GPU-2", power_w=None, memory_gib=None)

    rows = gpu_rows([cool, replace(BUSY, clock_reasons=CAP), replace(BUSY, temperature_c=60.0), other])

    assert rows[0] == {
        "gpu": "GPU-1", "readings": 3, "utilisation_p50_percent": 100.0, "power_max_w": 576.0, "power_limit_w": 700.0,
        "sm_clock_min_mhz": 1200.0, "sm_clock_max_mhz": 1980.0, "memory_max_gib": 130.2, "temperature_max_c": 60.0,
        "held_back_by": "sw_power_cap in 1 of 3",
    }  # fmt: skip
    assert (rows[1]["gpu"], rows[1]["power_max_w"], rows[1]["held_back_by"]) == ("GPU-2", None, "nothing")


class Scraped(Metrics):
    """Answers with one list of readings after the other, and then with the last one again."""

    def __init__(self, *answers: Sequence[GpuReading] | EngineUnavailable) -> None:
        self._answers = list(answers)
        self.all_given = threading.Event()

    def read(self, base_url: str) -> EngineMetrics:
        raise NotImplementedError

    def gpus(self, base_url: str) -> list[GpuReading]:
        answer = self._answers[0]
        if len(self._answers) > 1:
            del self._answers[0]
        else:
            self.all_given.set()
        if isinstance(answer, EngineUnavailable):
            raise answer
        return list(answer)


def sampled(metrics: Scraped, before: Sequence[GpuReading] = ()) -> list[GpuReading]:
    with GpuSampler(metrics, "http://e", before, every_s=0.001) as sampler:
        assert metrics.all_given.wait(30)
    return sampler.readings


def test_each_scrape_counts_once_and_the_one_before_the_load_does_not():
    first, second, third = ([replace(BUSY, at=at)] for at in (1.0, 2.0, 3.0))

    readings = sampled(Scraped(first, first, second, EngineUnavailable("away"), second, third, third), before=first)

    assert [reading.at for reading in readings] == [2.0, 3.0]


def test_readings_of_now_all_count():
    assert len(sampled(Scraped([BUSY], [BUSY], [BUSY]))) >= 3

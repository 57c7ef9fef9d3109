"""The bit mask of what holds a GPU back, beside the constants of NVML."""

from __future__ import annotations

import re

import pynvml
import pytest

from genai_pipeline.core.clock_reasons import IDLE, REASONS, reasons_in

CONSTANT = re.compile(r"nvmlClocks(?:Event|Throttle)Reason([A-Z]\w+)")
ANOTHER_NAME = {"UserDefinedClocks"}


def in_nvml() -> dict[str, int]:
    found = {match[1]: getattr(pynvml, name) for name in dir(pynvml) if (match := CONSTANT.fullmatch(name))}
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): bit for name, bit in found.items() if name not in ANOTHER_NAME
    }


def test_each_reason_of_nvml_is_known_by_its_name():
    assert {reason.name: reason.bit for reason in REASONS} == {
        name: bit for name, bit in in_nvml().items() if name not in {"all", "none", "gpu_idle"}
    }
    assert in_nvml()["gpu_idle"] == IDLE


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, []),
        (0x1, []),
        (0x4, ["sw_power_cap"]),
        (0x5, ["sw_power_cap"]),
        (0x48, ["hw_slowdown", "hw_thermal_slowdown"]),
        (0x84, ["sw_power_cap", "hw_power_brake_slowdown"]),
        (0x1000 | 0x20, ["sw_thermal_slowdown", "bit_0x1000"]),
    ],
)
def test_a_mask_is_read_bit_by_bit(mask: int, names: list[str]):
    assert [reason.name for reason in reasons_in(mask)] == names


def test_only_heat_and_power_supply_are_faults():
    assert {reason.bit for reason in REASONS if reason.is_fault} == {0x8, 0x20, 0x40, 0x80}

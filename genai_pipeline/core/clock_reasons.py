"""What holds the clocks of a GPU back: the bit mask of NVML and of DCGM, in words. Pure.

Source: NVIDIA, "NVML API Reference Guide", nvmlClocksEventReasons, as `nvidia-ml-py` has the constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SERIES = ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS")
"""The names under which dcgm-exporter has the mask: since DCGM 3.3, and before."""
IDLE = 0x1
"""A GPU without work lowers its clocks. Nothing holds it back."""


@dataclass(frozen=True)
class Reason:
    """One bit of the mask.

    Args:
        name: as in NVML, without its prefix.
        words: what holds the GPU back.
        is_fault: whether cooling, power supply or hardware is the cause. The others are how the GPU was set up.
    """

    bit: int
    name: str
    words: str
    is_fault: bool = False

    @property
    def named(self) -> str:
        return f"{self.words} (reason {self.bit}, {self.name})"


REASONS: Sequence[Reason] = (
    Reason(0x2, "applications_clocks_setting", "clocks that were set for it"),
    Reason(0x4, "sw_power_cap", "its power cap"),
    Reason(0x8, "hw_slowdown", "its hardware, because of heat or of power", is_fault=True),
    Reason(0x10, "sync_boost", "a slower GPU of its sync boost group"),
    Reason(0x20, "sw_thermal_slowdown", "heat, by its driver", is_fault=True),
    Reason(0x40, "hw_thermal_slowdown", "heat, by its hardware", is_fault=True),
    Reason(0x80, "hw_power_brake_slowdown", "the power brake of its server", is_fault=True),
    Reason(0x100, "display_clock_setting", "the clocks of a display"),
    Reason(0x200, "board_limit", "the limit of its board"),
    Reason(0x400, "reliability", "the voltage that is reliable"),
)


def reasons_in(mask: int) -> list[Reason]:
    """Return what holds a GPU back, or an empty list. A bit that this version does not know is named by its number."""
    known = [reason for reason in REASONS if mask & reason.bit]
    left = mask & ~IDLE & ~sum(reason.bit for reason in REASONS)
    bits = (1 << at for at in range(left.bit_length()))
    return [*known, *(Reason(bit, f"bit_{bit:#x}", "a cause that NVML added later") for bit in bits if left & bit)]

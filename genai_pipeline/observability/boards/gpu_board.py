"""Dashboard *GPU*: the GPUs that the engines' pods run on, as DCGM sees them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.core.clock_reasons import REASONS, SERIES
from genai_pipeline.observability.boards.panels import MODEL, RELEASE, THIRD, WHOLE, Line, board, graph
from genai_pipeline.observability.dashboard_files import HELD_BACK
from genai_pipeline.observability.series import of_engine_gpus

LEGEND = "{{pod}} GPU {{gpu}}"
"""The name of a pod begins with its model and its release."""
_USED, _FREE = "DCGM_FI_DEV_FB_USED{MATCHERS}", "DCGM_FI_DEV_FB_FREE{MATCHERS}"


def gpu_board() -> Dashboard:
    """Return the dashboard."""
    return board(
        "genai-gpu",
        "GenAI: GPU",
        "The GPUs of the engines' pods, by dcgm-exporter with DCGM_EXPORTER_KUBERNETES=true; on one machine by NVML.",
        [("Work", _work()), ("Condition", _condition()), ("Errors", _errors())],
    )


def _of(title: str, unit: str, why: str, expr: str, width: int = THIRD):
    return graph(title, unit, Line(of_engine_gpus(expr, "$namespace", MODEL, RELEASE), LEGEND), why=why, width=width)


def _work():
    busy = "A busy GPU may still do little: compare with the tensor cores."
    return [
        _of("Utilisation", "percent", busy, "DCGM_FI_DEV_GPU_UTIL{MATCHERS}"),
        _of(
            "Tensor cores",
            "percentunit",
            "Share of time; prefill uses them.",
            "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{MATCHERS}",
        ),
        _of(
            "Memory traffic", "percentunit", "Share of time; decode waits for it.", "DCGM_FI_PROF_DRAM_ACTIVE{MATCHERS}"
        ),
        _of("Memory in use", "percentunit", "vLLM takes its share at the start.", f"{_USED} / ({_USED} + {_FREE})"),
        _of("Sent over PCIe", "Bps", "DCGM gives bytes per second.", "DCGM_FI_PROF_PCIE_TX_BYTES{MATCHERS}"),
        _of("Received over PCIe", "Bps", "DCGM gives bytes per second.", "DCGM_FI_PROF_PCIE_RX_BYTES{MATCHERS}"),
    ]


def _condition():
    return [
        _of("Power", "watt", "At its limit the clock falls.", "DCGM_FI_DEV_POWER_USAGE{MATCHERS}"),
        _of("Temperature", "celsius", "The GPU slows down when it is hot.", "DCGM_FI_DEV_GPU_TEMP{MATCHERS}"),
        _of("SM clock", "hertz", "It falls with power and heat.", "DCGM_FI_DEV_SM_CLOCK{MATCHERS} * 1e6"),
        _held_back(),
    ]


def _held_back():
    """Return a line for each reason while it holds a GPU back. A division and a remainder give one bit of the mask."""
    mask = " or ".join(f"{name}{{MATCHERS}}" for name in SERIES)
    why = f"Power cap: a busy GPU reaches it. Heat and a power brake are faults. Empty too without {SERIES[0]}."
    lines = [
        Line(of_engine_gpus(f"floor(({mask}) / {r.bit}) % 2 == 1", "$namespace", MODEL, RELEASE), f"{LEGEND} {r.name}")
        for r in REASONS
    ]
    return graph(HELD_BACK, "short", *lines, why=why, width=WHOLE)


def _errors():
    stays = "The code of the last one. It stays until the driver or the exporter starts again."
    return [
        _of("Xid", "short", stays, "DCGM_FI_DEV_XID_ERRORS{MATCHERS}"),
        _of(
            "Uncorrectable memory errors",
            "short",
            "Since the driver started.",
            "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{MATCHERS}",
        ),
        _of(
            "Failed row remaps",
            "short",
            "Above 0 the GPU has to be replaced.",
            "DCGM_FI_DEV_ROW_REMAP_FAILURE{MATCHERS}",
        ),
    ]

"""Dashboard *money*: what a million tokens cost, in US dollars and in energy."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.boards.panels import (
    MODEL,
    NAMESPACE,
    OURS,
    RATE,
    RELEASE,
    Line,
    board,
    figure,
    graph,
)
from genai_pipeline.observability.series import engine, of_engine_gpus, rate_of, selector

BY = ("model", "release")
LEGEND = "{{model}} {{release}}"
_RATE = f"sum by (model, release) ({selector('genai_usd_per_hour', NAMESPACE, MODEL, RELEASE)})"


def money_board() -> Dashboard:
    """Return the dashboard."""
    return board(
        "genai-money",
        "GenAI: money and energy",
        "What tokens cost. The price per hour is that of the model file or of the price list, for `replicas.min`.",
        [("Money", _money()), ("Energy", _energy())],
    )


def _dollars(tokens: str, window: str) -> str:
    return f"{_RATE} / (({rate_of(engine(tokens, *OURS), window, BY)} > 0) * 3600) * 1e6"


def _money():
    proven = selector("genai_usd_per_million_tokens", NAMESPACE, MODEL, RELEASE)
    gate = "usd_per_million_tokens_max"
    return [
        figure("Dollars per hour", "currencyUSD", _RATE, "Of what serves the live release."),
        figure("Per million tokens", "currencyUSD", _dollars("generation_tokens_total", "1h"), "Generated, last hour."),
        figure("In the load test", "currencyUSD", proven, "Per million tokens, at the load of the gate."),
        graph(
            "Per million generated tokens",
            "currencyUSD",
            Line(_dollars("generation_tokens_total", RATE), LEGEND),
            Line(proven, "load test {{release}}"),
            why="An idle engine costs as much as a busy one.",
            gate=gate,
        ),
        graph(
            "Per million prompt tokens",
            "currencyUSD",
            Line(_dollars("prompt_tokens_total", RATE), LEGEND),
            why="The price of a model that embeds or scores.",
        ),
    ]


def _energy():
    joules = of_engine_gpus(
        f"rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{MATCHERS}}[{RATE}]) / 1e3", "$namespace", MODEL, RELEASE
    )
    watts = f"sum by (model, release) ({joules})"
    tokens = rate_of(engine("generation_tokens_total", *OURS), RATE, BY)
    return [
        graph("Power of the GPUs", "watt", Line(watts, LEGEND), why="From DCGM's energy counter."),
        graph(
            "Tokens per joule", "short", Line(f"{tokens} / {watts}", LEGEND), why="Generated tokens. Larger is better."
        ),
    ]

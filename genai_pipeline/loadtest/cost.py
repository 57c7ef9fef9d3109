"""What a token costs. Pure."""

from __future__ import annotations


def usd_per_million_tokens(usd_per_hour: float, tokens_per_s: float) -> float:
    """Price of a million generated tokens at full load of what `usd_per_hour` pays for.

    Prompt tokens are not counted: they would make the figure look better the longer the prompts are.
    """
    if tokens_per_s <= 0:
        raise ValueError("tokens_per_s must be above 0; without tokens there is no price per token")
    return usd_per_hour / (tokens_per_s * 3600) * 1_000_000

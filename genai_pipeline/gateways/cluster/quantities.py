"""Kubernetes quantities as numbers."""

from __future__ import annotations

_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_SUFFIXES |= {f"{letter}i": 1024.0 ** (power + 1) for power, letter in enumerate("KMGTPE")}


def amount(quantity: str | int | float) -> float:
    """A Kubernetes quantity as a number: cores, bytes, pieces. Source: Kubernetes API reference, "Quantity"."""
    text = str(quantity)
    for length in (2, 1):
        if text[-length:] in _SUFFIXES:
            return float(text[:-length]) * _SUFFIXES[text[-length:]]
    return float(text)

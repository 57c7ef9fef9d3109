"""Sensors that are there once, however many models there are."""

"""Decide what to do about each model now: a tick compares what is asked for with what is, and takes the next step."""

"""What to do about each model now: one tick compares what is asked for with what is, and takes the next step."""

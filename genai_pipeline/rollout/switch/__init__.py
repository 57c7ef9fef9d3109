"""Start a candidate, move traffic to it, drain, roll back, and end a release."""

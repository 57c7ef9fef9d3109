"""The outside world: one package per thing we talk to, an `abc.py` and the real ones beside it."""

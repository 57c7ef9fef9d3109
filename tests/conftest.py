"""Signals as a terminal gives them, also where the tests run in the background of a script, whose shell ignores SIGINT.

Dagster then treats SIGTERM as it finds SIGINT, and whatever process a test starts would inherit that it is ignored.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

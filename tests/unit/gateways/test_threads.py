import subprocess
import sys
import threading

import pytest

from genai_pipeline.gateways.threads import Workers, each


def test_results_come_in_the_order_of_the_items():
    assert each(lambda n: n * n, range(100), 8, "square") == [n * n for n in range(100)]
    assert each(str, [], 8, "nothing") == []


def test_an_error_is_raised_once_what_was_under_way_has_ended_and_the_rest_is_not_begun():
    begun, ended, fail = [], [], threading.Event()

    def one(n):
        begun.append(n)
        if n == 0:
            raise KeyError(n)
        fail.wait(0.2)
        ended.append(n)

    with pytest.raises(KeyError):
        each(one, range(100), 4, "some")

    assert len(begun) < 100
    assert sorted(begun) == [0, *sorted(ended)]


def test_who_has_to_end_waits_for_no_thread():
    never = threading.Event()
    workers = Workers(2, "stuck")
    workers.submit(never.wait)

    workers.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert any(thread.name == "stuck-1" for thread in threading.enumerate())
    never.set()


def test_a_process_ends_though_a_thread_is_stuck():
    script = (
        "import threading; from genai_pipeline.gateways.threads import Workers\n"
        "with Workers(1, 'stuck') as workers:\n"
        "    workers.submit(threading.Event().wait)\n"
        "    raise KeyboardInterrupt"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)

    assert b"KeyboardInterrupt" in ended.stderr

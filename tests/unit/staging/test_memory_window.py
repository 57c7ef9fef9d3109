import threading

from genai_pipeline.staging.memory_window import MemoryWindow


def test_no_more_is_lent_than_the_window_holds():
    window = MemoryWindow(30, 10)
    lent = [window.take(10) for _ in range(3)]
    taken = threading.Event()
    waiting = threading.Thread(target=lambda: (window.take(10), taken.set()))
    waiting.start()

    assert not taken.wait(0.1)
    window.give_back(lent[0])

    assert taken.wait(10)
    waiting.join(10)


def test_a_buffer_is_used_again():
    window = MemoryWindow(20, 10)
    first = window.take(10)
    memory = first.obj
    window.give_back(first)
    assert window.take(10).obj is memory
    assert window.take(4).nbytes == 4


def test_a_buffer_larger_than_the_whole_window_is_lent_alone():
    window = MemoryWindow(20, 10)
    small, large = window.take(1), []
    waiting = threading.Thread(target=lambda: large.append(window.take(50)))
    waiting.start()
    waiting.join(0.1)
    assert large == []

    window.give_back(small)

    waiting.join(10)
    assert large[0].nbytes == 50

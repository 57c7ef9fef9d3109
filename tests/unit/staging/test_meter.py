from genai_pipeline.staging import meter as meter_module
from genai_pipeline.staging.meter import Meter, StagingProgress, TransferMethod

PLANNED = [("a", 10, TransferMethod.STREAMED), ("b", 4, TransferMethod.KEPT), ("c", 6, TransferMethod.COPIED)]


def meter(**hooks) -> Meter:
    return Meter("tiny", "r" * 40, PLANNED, **hooks)


def test_the_last_report_says_what_came_of_every_file():
    seen: list[StagingProgress] = []
    said: list[str] = []
    counting = meter(observe=seen.append, say=said.append)
    for path, size, how in PLANNED:
        counting.begin(path, how)
        if how is TransferMethod.STREAMED:
            counting.asked_source()
            counting.read(size)
        counting.advance(path, size)
        counting.end(path)

    last = counting.finish()

    assert seen[-1] == last
    assert last.finished
    assert (last.bytes_from_source, last.bytes_copied, last.bytes_kept) == (10, 6, 4)
    assert (last.bytes_done, last.size_bytes, last.files_done) == (20, 20, 3)
    assert all(f.began_s is not None and f.ended_s is not None and f.began_s <= f.ended_s for f in last.files)
    assert said[-1].startswith("3 of 3 files, 0.0 of 0.0 MiB")
    assert [seen.finished for seen in seen].count(True) == 1


def test_a_file_that_is_sent_again_from_scratch_does_not_count_twice():
    counting = meter()
    counting.begin("a", TransferMethod.STREAMED)
    counting.advance("a", 7)
    counting.begin("a", TransferMethod.STREAMED)
    assert counting.state().bytes_done == 0
    counting.advance("a", 10)
    counting.end("a")
    assert counting.state().bytes_done == 10


def test_a_kept_file_that_has_to_be_streamed_after_all_changes_sides():
    counting = meter()
    counting.begin("b", TransferMethod.KEPT)
    counting.begin("b", TransferMethod.STREAMED)
    counting.end("b")
    assert counting.state().bytes_kept == 0


def test_a_busy_staging_reports_at_most_a_few_times_a_second():
    seen: list[StagingProgress] = []
    counting = meter(observe=seen.append)
    counting.begin("a", TransferMethod.STREAMED)
    for _ in range(5000):
        counting.advance("a", 0)
    elapsed = counting.state().elapsed_s
    assert len(seen) <= 2 + elapsed / meter_module.OBSERVE_EVERY_S


def test_samples_are_thinned_out_and_never_many(monkeypatch):
    monkeypatch.setattr(meter_module, "OBSERVE_EVERY_S", 0.0)
    monkeypatch.setattr(meter_module, "MOST_SAMPLES", 10)
    counting = meter()
    for _ in range(1000):
        counting.advance("a", 0)
    assert 0 < len(counting.finish().samples) <= 10


def test_requests_are_those_since_the_staging_began():
    asked = {"PutObject": 5}
    counting = meter(requests=lambda: asked)
    asked["PutObject"] += 2
    asked["CopyObject"] = 1
    counting.asked_source()
    assert counting.finish().requests == {"PutObject": 2, "CopyObject": 1, "source": 1}

"""What is shown of a staging: the picture, and the price of its requests."""

import base64
import re
from xml.etree import ElementTree

import pytest

from genai_pipeline.staging.cost import planned_requests, usd
from genai_pipeline.staging.meter import FileProgress, StagingProgress, ThroughputSample, TransferMethod
from genai_pipeline.staging.stager import Stager
from genai_pipeline.staging.staging_chart import rates, staging_chart, svg
from tests.fakes.store import MemoryStore
from tests.fakes.weights import safetensors_of
from tests.fakes.world import FakeHub

MIB = 1024 * 1024
GIB = 1024 * MIB


def progress(files, samples=(), elapsed_s=10.0):
    return StagingProgress("m", "r", elapsed_s, tuple(files), 0, 0, 0, samples=tuple(samples))


def bars(picture):
    root = ElementTree.fromstring(picture)
    return [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if len(e)]


def test_each_file_is_a_bar_from_its_begin_to_its_end():
    early = FileProgress("a<&>.safetensors", 100, TransferMethod.STREAMED, 100, 0.0, 5.0)
    late = FileProgress("b.safetensors", 100, TransferMethod.COPIED, 100, 5.0, 10.0)

    first, second = bars(svg(progress([late, early])))

    assert float(first.get("x")) + float(first.get("width")) == pytest.approx(float(second.get("x")), abs=0.2)
    assert first.get("width") == second.get("width")
    assert first.get("fill") != second.get("fill")
    assert "a<&>.safetensors" in first[0].text


def test_of_thousands_of_files_the_largest_are_drawn_and_it_says_so():
    files = [FileProgress(f"f{n}", n, TransferMethod.STREAMED, n, 0.0, 1.0) for n in range(3000)]

    picture = svg(progress(files))

    assert len(bars(picture)) == 24
    assert "The 24 largest of 3000 files" in picture
    assert "f2999" in picture


def test_the_throughput_is_what_came_since_the_sample_before():
    samples = [
        ThroughputSample(1.0, 0, 10 * MIB),
        ThroughputSample(1.0, 0, 10 * MIB),
        ThroughputSample(3.0, 0, 14 * MIB),
    ]
    assert rates(samples) == [(1.0, 10.0), (3.0, 2.0)]


@pytest.mark.parametrize(
    "files", [[], [FileProgress("a", 0, TransferMethod.KEPT)], [FileProgress("a", 0, TransferMethod.KEPT, 0, 0.0)]]
)
def test_a_staging_of_nothing_or_in_no_time_is_drawn_all_the_same(files):
    ElementTree.fromstring(svg(progress(files, elapsed_s=0.0)))


def test_the_picture_is_one_that_the_ui_shows():
    image = re.fullmatch(r"!\[.*\]\(data:image/svg\+xml;base64,(.*)\)", staging_chart(progress([])))
    assert base64.b64decode(image[1]).startswith(b"<svg")


def test_writes_cost_more_than_reads_and_deletes_and_the_source_cost_nothing():
    assert usd({"PutObject": 1000}) == pytest.approx(0.005)
    assert usd({"GetObject": 1000}) == pytest.approx(0.0004)
    assert usd({"DeleteObjects": 1000, "AbortMultipartUpload": 9, "source": 1000}) == 0


@pytest.mark.parametrize(
    ("size", "how", "operation", "count"),
    [
        (8 * MIB, TransferMethod.STREAMED, "PutObject", 3),
        (8 * MIB + 1, TransferMethod.STREAMED, "UploadPart", 2),
        (100 * GIB, TransferMethod.STREAMED, "UploadPart", 10_000),
        (5 * GIB, TransferMethod.COPIED, "CopyObject", 1),
        (6 * GIB, TransferMethod.COPIED, "UploadPartCopy", 6),
        (100 * GIB, TransferMethod.KEPT, "GetObject", 2),
    ],
)
def test_the_plan_counts_the_requests_of_each_way(size, how, operation, count):
    assert planned_requests([(size, how)], 8 * MIB)[operation] == count


def test_the_plan_counts_the_uploads_that_a_staging_then_makes():
    """Held to a real staging, so that an estimate that went stale is seen."""
    hub, store, part = FakeHub(), MemoryStore(), 1000
    files = {
        "a.safetensors": safetensors_of(3500),
        "b.safetensors": safetensors_of(1000),
        "empty.txt": b"",
        "c.json": b"{}",
    }
    snapshot = hub.snapshot("o/m", hub.publish("v1", files=files))
    planned = planned_requests([(len(body), TransferMethod.STREAMED) for body in files.values()], part)

    Stager(hub, store, part_size=part).stage("m", snapshot)

    made = [method for method, _ in store.calls]
    assert made.count("put") + made.count("put_new") == planned["PutObject"]
    assert made.count("upload_part") == planned["UploadPart"]
    assert made.count("complete_upload") == planned["CompleteMultipartUpload"]

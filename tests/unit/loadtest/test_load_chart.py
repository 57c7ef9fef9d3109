from __future__ import annotations

import base64
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.core.task import Task
from genai_pipeline.loadtest.load_chart import LoadPoint, load_chart, svg

NAMESPACE = "{http://www.w3.org/2000/svg}"
values = st.floats(0, 1e5)
points = st.lists(st.builds(LoadPoint, st.integers(1, 512), st.none() | values, st.none() | values, values), max_size=8)


def texts(picture: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(picture).iter(f"{NAMESPACE}text")]


@given(points, st.sampled_from(Task), st.floats(0.1, 1e5), st.none() | st.floats(0.1, 1e5))
def test_any_report_is_a_picture_with_every_value_inside_it(
    points: list[LoadPoint], task: Task, limit: float, tokens: float | None
):
    root = ElementTree.fromstring(svg(points, task, limit, tokens))

    circles = list(root.iter(f"{NAMESPACE}circle"))
    shown = sum((p.p50_ms is not None) + (p.p95_ms is not None) + 1 for p in points)
    assert len(circles) == shown
    assert all(0 <= float(c.attrib["cy"]) <= float(root.attrib["height"]) for c in circles)


def test_the_concurrencies_and_the_gates_stand_beside_the_lines():
    labels = texts(svg([LoadPoint(1, 20, 30, 100), LoadPoint(4, 40, 60, 300)], Task.CHAT, 80, 120))

    assert {"1", "4", "gate 80", "gate 120"} <= set(labels)


def test_a_gate_far_above_the_values_is_named_and_does_not_flatten_them():
    picture = svg([LoadPoint(1, 20, 30, 100)], Task.CHAT, 1500, 60)

    assert "gate 1500 ↑" in texts(picture)
    p50, p95, _ = (float(c.attrib["cy"]) for c in ElementTree.fromstring(picture).iter(f"{NAMESPACE}circle"))
    assert p50 - p95 > 20


def test_what_generates_nothing_is_drawn_by_whole_requests_and_prompt_tokens_without_a_gate_of_tokens():
    labels = set(texts(svg([LoadPoint(1, 20, 30, 100), LoadPoint(4, 40, 60, 300)], Task.EMBED, 80, None)))

    assert {"Time of a request (ms)", "Prompt tokens/s", "gate 80"} <= labels
    assert sum(label.startswith("gate") for label in labels) == 1


def test_the_ui_gets_the_picture_as_a_data_uri():
    points = [LoadPoint(1, 20, 30, 100)]

    image = load_chart(points, Task.EMBED, 80, None)

    head, _, body = image.partition("base64,")
    assert head.endswith("(data:image/svg+xml;")
    assert base64.b64decode(body.removesuffix(")")).decode() == svg(points, Task.EMBED, 80, None)

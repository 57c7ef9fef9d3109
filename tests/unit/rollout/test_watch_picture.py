import base64
import re
from xml.etree import ElementTree

from genai_pipeline.automation.live_watch_sensor import picture


def svg_of(markdown):
    return base64.b64decode(re.search(r"base64,([^)]+)\)", markdown)[1]).decode()


def test_what_was_seen_is_drawn_and_what_was_not_is_left_out():
    drawn = svg_of(picture([(0.0, 50.0, 0.0), (5.0, None, None), (10.0, 200.0, 0.5)]))

    ElementTree.fromstring(drawn)
    assert [len(points.split()) for points in re.findall(r'points="([^"]*)"', drawn)] == [2, 2]
    assert "10 s after the cut-over" in drawn


def test_nothing_seen_is_no_picture():
    assert picture([(0.0, None, None), (5.0, None, None)]) == ""
    assert picture([]) == ""

"""Server-side apply, as arithmetic on objects."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.cluster.differences import differences
from genai_pipeline.local.cluster.server_side_apply import applied, normalised, presentable


def settings(**data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": data}


def fields(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [field for field, _, _ in differences(before, after)]


def test_the_same_manifest_again_gives_the_same_object() -> None:
    once = applied(None, settings(a={"b": [1, {"c": 2}]}), "us")

    assert applied(once, settings(a={"b": [1, {"c": 2}]}), "us") == once


def test_a_field_we_leave_out_goes_and_one_of_another_manager_stays() -> None:
    both = applied(applied(None, settings(ours={"x": 1, "y": 2}), "us"), settings(theirs=3, ours={"z": 4}), "them")
    after = applied(both, settings(ours={"x": 1}), "us")

    assert after["data"] == {"ours": {"x": 1, "z": 4}, "theirs": 3}
    assert fields(both, after) == ["data.ours.y"]


def test_two_managers_may_agree_but_not_disagree() -> None:
    theirs = applied(None, settings(a=1), "them")

    assert applied(theirs, settings(a=1), "us")["data"] == {"a": 1}
    with pytest.raises(Refused, match=r"data\.a is owned by 'them'"):
        applied(theirs, settings(a=2), "us")


def test_status_and_what_the_cluster_added_survive_an_apply() -> None:
    live = applied(None, settings(a=1), "us") | {"status": {"x": 1}}
    live["metadata"]["uid"] = "u"
    after = applied(live, settings(a=2), "us")

    assert (after["status"], after["metadata"]["uid"]) == ({"x": 1}, "u")


def test_nulls_and_a_status_in_the_manifest_are_not_kept() -> None:
    assert normalised(settings(a=None, b=1) | {"status": {}})["data"] == {"b": 1}
    assert "status" not in normalised(settings() | {"status": {}})


def test_defaults_do_not_count_as_differences() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    live = applied(None, service, "us")

    assert live["spec"]["ports"] == [{"protocol": "TCP", "targetPort": 80, "port": 80}]
    assert applied(live, service, "us") == live


def test_a_deployments_selector_cannot_change() -> None:
    def deployment(app: str) -> dict[str, Any]:
        spec = {"selector": {"matchLabels": {"app": app}}, "template": {}}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}

    with pytest.raises(Refused, match="selector"):
        applied(applied(None, deployment("a"), "us"), deployment("b"), "us")


def test_a_secrets_text_is_encoded_and_never_in_a_difference() -> None:
    def secret(value: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": value}}

    live = applied(None, secret("old"), "us")
    assert live["data"] == {"key": "b2xk"}
    ((field, wanted, now),) = differences(live, applied(live, secret("new"), "us"))
    assert (field, wanted, now) == ("data.key", "(secret)", "(other secret)")


def test_book_keeping_is_not_shown() -> None:
    assert "managedFields" not in presentable(applied(None, settings(a=1), "us"))["metadata"]

"""Amazon Managed Prometheus, as the product asks it: signed, refused, throttled, down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.gateways.metrics.sigv4 import SigV4
from tests.fakes.aws_signature import OTHER_REGION, OTHER_SIGNATURE, UNKNOWN_KEY, UNSIGNED
from tests.fakes.managed_prometheus import KEY, QUERY, REGION, SECRET, ManagedPrometheus, Workspace
from tests.integration.inference.fake_prometheus import FakePrometheus

WORKSPACE = "ws-0a1b2c3d"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def amazon() -> Iterator[ManagedPrometheus]:
    """One workspace, with a store behind it that has one series."""
    with FakePrometheus() as store, ManagedPrometheus({WORKSPACE: Workspace()}, store.url) as amazon:
        store.scrape([({"__name__": "up", "pod": "a"}, 1.0)])
        yield amazon


def asked(amazon: ManagedPrometheus, region: str = REGION, workspace: str = WORKSPACE) -> float:
    """Ask as the pipeline does on EKS."""
    metrics = PrometheusMetrics(amazon.url(workspace), auth=SigV4(region), pause=lambda _: None)
    ((_, _, value),) = metrics.query('{__name__="up"}')
    return value


def test_a_signed_query_is_answered(amazon: ManagedPrometheus):
    assert asked(amazon) == 1.0


@pytest.mark.parametrize(
    ("workspace", "signed_for", "words"),
    [
        (Workspace(), "us-east-1", OTHER_REGION),
        (Workspace(keys={KEY: "another"}), REGION, OTHER_SIGNATURE.partition(".")[0]),
        (Workspace(keys={"AKIAOTHER": SECRET}), REGION, UNKNOWN_KEY),
        (Workspace(ahead=timedelta(minutes=20)), REGION, "Signature expired"),
        (Workspace(ahead=timedelta(minutes=-20)), REGION, "Signature not yet current"),
        (Workspace(denied=frozenset({QUERY})), REGION, "is not authorized to perform: aps:QueryMetrics"),
    ],
    ids=["region", "secret", "key", "slow clock", "fast clock", "role"],
)
def test_a_refusal_is_in_amazons_words_with_the_action_the_region_and_the_workspace(
    amazon: ManagedPrometheus, workspace: Workspace, signed_for: str, words: str
):
    amazon.workspaces = {WORKSPACE: workspace}

    with pytest.raises(EngineUnavailable) as refused:
        asked(amazon, signed_for)

    for part in (words.rstrip("."), "403", QUERY, signed_for, WORKSPACE):
        assert part in str(refused.value)
    assert ("clock of this machine" in refused.value.remedy) == words.startswith("Signature")


def test_who_does_not_sign_is_refused(amazon: ManagedPrometheus):
    with pytest.raises(EngineUnavailable, match=UNSIGNED):
        PrometheusMetrics(amazon.url(WORKSPACE)).query("up")


def test_a_workspace_that_is_not_there_is_said(amazon: ManagedPrometheus):
    with pytest.raises(EngineUnavailable, match=r"HTTP 404.*Workspace not found"):
        asked(amazon, workspace="ws-gone")


def test_a_throttled_query_is_asked_again(amazon: ManagedPrometheus):
    amazon.workspaces[WORKSPACE].throttles = 2

    assert asked(amazon) == 1.0
    assert amazon.workspaces[WORKSPACE].answered == {(QUERY, 429): 2, (QUERY, 200): 1}


@pytest.mark.parametrize(
    ("workspace", "words"),
    [(Workspace(throttles=99), "429.*ingestion rate limit"), (Workspace(down=True), "503.*Service Unavailable")],
)
def test_one_that_stays_busy_is_unavailable_with_its_words(amazon: ManagedPrometheus, workspace: Workspace, words: str):
    amazon.workspaces = {WORKSPACE: workspace}

    with pytest.raises(EngineUnavailable, match=words):
        asked(amazon)

    assert workspace.answered.total() == 3

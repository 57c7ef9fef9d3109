"""The conformance suite against the cluster of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.access import *  # noqa: F403
from tests.conformance.applying import *  # noqa: F403
from tests.conformance.configuration import *  # noqa: F403
from tests.conformance.connections import *  # noqa: F403
from tests.conformance.ending import *  # noqa: F403
from tests.conformance.failing import *  # noqa: F403
from tests.conformance.initialising import *  # noqa: F403
from tests.conformance.limits import *  # noqa: F403
from tests.conformance.probing import *  # noqa: F403
from tests.conformance.ray_services import *  # noqa: F403
from tests.conformance.rolling_out import *  # noqa: F403
from tests.conformance.traffic import *  # noqa: F403

README = Path(__file__).parents[3] / "genai_pipeline" / "local" / "cluster" / "README.md"

NOT_ON_LOCAL: Mapping[str, str] = {
    "test_what_an_identity_may_not_do_is_refused_with_verb_resource_and_namespace": "no identities",
    "test_what_an_identity_may_do_can_be_asked": "no identities",
    "test_credentials_that_the_cluster_does_not_know_are_denied": "no identities",
    "test_a_kind_that_is_not_installed_is_absent_and_cannot_be_applied": "every kind is kept",
    "test_a_kind_that_the_pipeline_does_not_speak_is_refused": "every kind is kept",
    "test_a_missing_namespace_is_not_found": "namespaces need not be made",
    "test_pods_beyond_the_quota_are_refused_and_the_wait_says_so": "no quotas",
    "test_a_quota_narrows_the_headroom": "no quotas",
    "test_a_deployment_that_pod_security_will_refuse_is_applied_with_a_warning": "no Pod Security",
}
"""Cases of the suite that LocalCluster does not pass -> why; the README says each of these reasons."""


@pytest.fixture(autouse=True)
def _named_exceptions(request: pytest.FixtureRequest) -> None:
    why = NOT_ON_LOCAL.get(request.function.__name__)
    if why:
        pytest.skip(f"LocalCluster: {why}")


def test_the_exceptions_are_cases_and_the_readme_says_why() -> None:
    assert NOT_ON_LOCAL.keys() <= globals().keys()
    text = " ".join(README.read_text().split()).lower()
    assert [why for why in NOT_ON_LOCAL.values() if f"**{why.lower()}" not in text] == []

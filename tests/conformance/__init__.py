"""What every Cluster does, whichever it is. The modules hold the cases; tests/integration/cluster/test_conformance.py
runs them against LocalCluster and tests/cluster/test_conformance.py against KubernetesCluster, each with a fixture
`world` of its own. Only the `World` knows against what it runs."""

import pytest

TOPICS = ("access", "applying", "configuration", "ending", "failing", "limits", "probing", "rolling_out", "traffic")

for _topic in TOPICS:
    pytest.register_assert_rewrite(f"{__name__}.{_topic}")

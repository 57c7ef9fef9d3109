"""boto3's client of one bucket, made at the first call, and what all calls of it have in common."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.connections import is_loopback
from genai_pipeline.gateways.redaction import require_address_without_password, require_sendable
from genai_pipeline.gateways.store.abc import Abilities
from genai_pipeline.gateways.store.s3_integrity import is_amazon
from genai_pipeline.gateways.store.s3_settings import S3Settings

if TYPE_CHECKING:
    from genai_pipeline.gateways.store.s3_sender import Sender


class S3Client:
    """Thread-safe. The constructor connects to nothing."""

    def __init__(self, bucket: str, settings: S3Settings) -> None:
        self._bucket, self._settings = bucket, settings
        self._made: tuple[Any, Sender] | None = None
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        """Requests by operation since the client was made, retries included."""
        self.abilities = Abilities(known=is_amazon(settings.endpoint))

    @property
    def boto3(self) -> Any:
        return self._both()[0]

    @property
    def sender(self) -> Sender:
        return self._both()[1]

    @contextmanager
    def translating_errors(self, what: str, address: str) -> Iterator[None]:
        """Turn errors of boto3 and of the connections into this product's.

        Args:
            what: the verb and the address, for a person.
        """
        try:
            yield
        except Exception as error:
            from genai_pipeline.gateways.store.s3_errors import translated

            ours = translated(error, what, address, self._settings.endpoint or "Amazon S3")
            if ours is None:
                raise
            raise ours from error

    def _both(self) -> tuple[Any, Sender]:
        if self._made is None:
            with self._lock:  # boto3's sessions are not thread-safe, its clients are
                self._made = self._made or self._make()
        return self._made

    def _make(self) -> tuple[Any, Sender]:
        from boto3.session import Session
        from botocore.exceptions import NoCredentialsError
        from botocore.session import get_session

        from genai_pipeline.gateways.aws.pod_identity import credentials_of
        from genai_pipeline.gateways.store.s3_integrity import use_md5_where_required, wants_no_crc64
        from genai_pipeline.gateways.store.s3_pace import bound_answers
        from genai_pipeline.gateways.store.s3_retries import add_retries
        from genai_pipeline.gateways.store.s3_sender import Sender, counter

        settings, core = self._settings, get_session()
        require_address_without_password(settings.endpoint or "", "AWS_ENDPOINT_URL, or a source's `endpoint`,")
        session = Session(settings.access_key, settings.secret_key, region_name=settings.region, botocore_session=core)
        credentials = credentials_of(core, settings.sleep)
        client = self._boto3_client(session, core)
        if credentials is None:
            raise NoCredentialsError
        signed = credentials.get_frozen_credentials()
        require_sendable(f"{signed.access_key}{signed.token or ''}", "AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN")
        ca_bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        self.requests, count = counter()
        client.meta.events.register("before-send.s3", lambda event_name, **_: count(event_name.rpartition(".")[2]))
        if wants_no_crc64(core):
            self.abilities.crc64 = False
        use_md5_where_required(client)
        add_retries(client)
        bound_answers(client, settings, ca_bundle)
        return client, Sender(client, credentials, self._bucket, settings, self.abilities, ca_bundle, count)

    def _boto3_client(self, session: Any, core: Any) -> Any:
        from botocore.config import Config

        from genai_pipeline.gateways.store.s3_integrity import checksum_settings

        endpoint = self._settings.endpoint
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint else "virtual"},
            retries={"mode": "standard", "max_attempts": 4},
            proxies={} if is_loopback(endpoint or "") else None,
            **checksum_settings(core, endpoint),
        )
        try:
            return session.client("s3", endpoint_url=endpoint, config=config)
        except ValueError as error:
            raise Refused(
                f"{endpoint!r} is not the address of an S3: {error}.", "Correct AWS_ENDPOINT_URL and AWS_REGION."
            ) from error

"""boto3's client of one bucket, made at the first call, and what every call of it has in common."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.discretion import require_open_address, require_sendable

if TYPE_CHECKING:
    from genai_pipeline.gateways.store.s3_sender import Sender


class S3Client:
    """Thread-safe; constructing it costs nothing and asks nobody. Arguments: `S3Store`'s."""

    def __init__(
        self, bucket: str, endpoint: str | None, region: str, keys: tuple[str | None, str | None], connections: int
    ) -> None:
        self._bucket, self._endpoint, self._region = bucket, endpoint, region
        self._keys, self._connections = keys, connections
        self._made: tuple[Any, Sender] | None = None
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        """By operation, retries included, since this was made."""

    @property
    def boto3(self) -> Any:
        return self._both()[0]

    @property
    def sender(self) -> Sender:
        return self._both()[1]

    @contextmanager
    def asked(self, what: str, address: str) -> Iterator[None]:
        """Errors of boto3 and of the connections as ours. `what` is the verb and the address, for a person."""
        try:
            yield
        except Exception as error:
            from genai_pipeline.gateways.store.s3_errors import translated

            ours = translated(error, what, address, self._endpoint or "Amazon S3")
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
        from botocore.config import Config
        from botocore.exceptions import NoCredentialsError

        from genai_pipeline.gateways.store.s3_pace import keep_pace
        from genai_pipeline.gateways.store.s3_retries import add_retries
        from genai_pipeline.gateways.store.s3_sender import Sender, counter

        require_open_address(self._endpoint or "", "AWS_ENDPOINT_URL, or a source's `endpoint`,")
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if self._endpoint else "virtual"},
            connect_timeout=3,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 4},
            max_pool_connections=self._connections,
        )
        access_key, secret_key = self._keys
        session = Session(access_key, secret_key, region_name=self._region)
        try:
            client = session.client("s3", endpoint_url=self._endpoint, config=config)
        except ValueError as error:
            raise Refused(
                f"There is no S3 at such an address: {error}.", "Correct AWS_ENDPOINT_URL and AWS_REGION."
            ) from error
        add_retries(client)
        keep_pace(client)
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        signed = credentials.get_frozen_credentials()
        require_sendable(f"{signed.access_key}{signed.token or ''}", "AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN")
        self.requests, count = counter()
        client.meta.events.register("before-send.s3", lambda event_name, **_: count(event_name.rpartition(".")[2]))
        return client, Sender(client, credentials, self._bucket, self._connections, count)

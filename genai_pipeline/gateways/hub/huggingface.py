"""The Hugging Face hub, and other servers that speak its API.

Metadata comes through the huggingface_hub client. `file_reader.py` reads files with urllib3, because the client would
write them to disk and not verify them. Both are imported at the first use. Nothing is written to disk.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from genai_pipeline.core.errors import AccessDenied, HubUnavailable, RateLimited, RevisionNotFound
from genai_pipeline.core.licences import stated_licences
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.backoff import backoff_s, retry_after_s
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.redaction import (
    keep_secrets_out_of_logs,
    require_address_without_password,
    require_sendable,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

    from genai_pipeline.gateways.hub.file_reader import FileReader, ReadLimits

RESOLVE_TIMEOUT_S = 2.5  # once to connect and once to be answered
SNAPSHOT_TIMEOUT_S = 30.0
RATE_LIMIT_S = 900.0
"""Seconds that a snapshot waits for a hub that limits requests. Its windows last 300 s."""
RATE_LIMIT_WAITS = 4
TRY_AGAIN = "Try again later. If it repeats, check HF_ENDPOINT and the network."


PUBLIC = "public"

T = TypeVar("T")


@cache
def _ask_this_machine_directly() -> None:
    """Have huggingface_hub ask an embedded hub without the environment's proxy. It has one client for the process."""
    import httpx2
    from huggingface_hub import set_client_factory

    direct = {"all://127.0.0.1": None, "all://localhost": None}
    set_client_factory(lambda: httpx2.Client(follow_redirects=True, timeout=None, mounts=direct))


class HuggingFaceHub(Hub):
    """Thread-safe. The constructor touches neither the network nor the disk.

    Args:
        endpoint: None means the default of huggingface_hub: HF_ENDPOINT, else the public hub.
            PUBLIC means the public hub, even if HF_ENDPOINT is set.
        token: None means HF_TOKEN. A token that is saved on disk is ignored.
        sleep: waits between two attempts to read a file.
        limits: how long one range of a file is read; None means the defaults of `ReadLimits`.
    """

    def __init__(
        self,
        endpoint: str | None,
        token: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        limits: ReadLimits | None = None,
    ) -> None:
        keep_secrets_out_of_logs()
        self._asked_endpoint = endpoint
        self._given_token = token or os.environ.get("HF_TOKEN") or ""
        self._sleep, self._limits = sleep, limits
        self._lock = threading.Lock()
        self._reader: FileReader | None = None
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}
        """The ETag and the content of small answers, by path."""

    def resolve(self, repository: str, ref: str) -> str:
        """Send one request of at most 5 s. It is not repeated, because a sensor asks again at its next tick.

        The next request for the same ref is conditional, which costs the hub little while nothing has changed.
        """
        with self._translated(repository, ref):
            about = self._metadata(f"{repository}/revision/{quote(ref, safe='')}", {"expand": "sha"})
            sha = about.get("sha")
        if not isinstance(sha, str) or not sha:
            raise HubUnavailable(f"{self._endpoint} does not name the commit of {repository}@{ref}.", TRY_AGAIN)
        return sha

    def tags(self, repository: str) -> Mapping[str, str]:
        """Return the tags, by one conditional request."""
        with self._translated(repository, "main"):
            refs = self._metadata(f"{repository}/refs", {})
            return {tag["name"]: tag["targetCommit"] for tag in refs["tags"]}

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        info = self._waiting_out_rate_limits(lambda: self._info(repository, revision))
        if not info.sha or info.siblings is None:
            raise HubUnavailable(f"{self._endpoint} does not list the files of {repository}@{revision}.", TRY_AGAIN)
        files = tuple(_file(s) for s in sorted(info.siblings, key=lambda s: s.rfilename))
        if unknown := [f.path for f in files if f.size < 0]:
            raise HubUnavailable(
                f"{self._endpoint} lists no size for {len(unknown)} files of {repository}, such as {unknown[0]}.",
                "Set HF_ENDPOINT to a hub, or to a mirror that answers `?blobs=true` with sizes and digests.",
            )
        return Snapshot(repository, info.sha, files, _licence(info), bool(info.gated))

    def _info(self, repository: str, revision: str) -> ModelInfo:
        with self._translated(repository, revision):
            return self._api.model_info(repository, revision=revision, files_metadata=True, timeout=SNAPSHOT_TIMEOUT_S)

    def _waiting_out_rate_limits(self, ask: Callable[[], T]) -> T:
        """Ask again after each wait that the hub asks for, so that a rate limit uses up no attempt of a rollout."""
        left_s = RATE_LIMIT_S
        for _ in range(RATE_LIMIT_WAITS):
            try:
                return ask()
            except RateLimited as error:
                wait_s = backoff_s(1, 1.0, error.wait_s, RATE_LIMIT_S)
                if error.wait_s is None or wait_s > left_s:
                    raise
            left_s -= wait_s
            self._sleep(wait_s)
        return ask()

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Also raises NotFound (no such file) and Refused (the file ends before `start`)."""
        return self._files().read(repository, revision, path, start, end)

    @cached_property
    def _endpoint(self) -> str:
        from huggingface_hub import constants

        if self._asked_endpoint == PUBLIC:
            return constants._HF_DEFAULT_ENDPOINT  # pyright: ignore[reportPrivateUsage]
        endpoint = (self._asked_endpoint or constants.ENDPOINT).rstrip("/")
        require_address_without_password(endpoint, "HF_ENDPOINT")
        return endpoint

    @cached_property
    def _token(self) -> str | None:
        """Without the line end that a token from a file has."""
        token = self._given_token.strip()
        require_sendable(token, "HF_TOKEN")
        return token or None

    @cached_property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi, constants

        # Otherwise the client fetches a list of programs that may be calling it, and writes it to disk.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        _ask_this_machine_directly()
        return HfApi(endpoint=self._endpoint, token=self._token or False)

    def _metadata(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """Return the JSON object at /api/models/<path>, which the hub sends again only if it has changed.

        huggingface_hub has no conditional requests (RFC 9110, 13.1.2). Its session, headers and errors are used here.
        """
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        _ask_this_machine_directly()
        with self._lock:
            etag, known = self._known.get(path, ("", {}))
        headers = build_hf_headers(token=self._token or False) | ({"If-None-Match": etag} if etag else {})
        url = f"{self._endpoint}/api/models/{path}"
        answer = get_session().get(url, headers=headers, params=query, timeout=RESOLVE_TIMEOUT_S)
        if answer.status_code == 304 and etag:
            return known
        hf_raise_for_status(answer)
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("the answer is not a JSON object")
        with self._lock:
            self._known[path] = (answer.headers.get("ETag", ""), found)
        return found

    def _files(self) -> FileReader:
        from genai_pipeline.gateways.hub.file_reader import FileReader

        with self._lock:
            if self._reader is None:
                self._reader = FileReader(self._endpoint, self._token, self._sleep, self._limits)
            return self._reader

    @contextmanager
    def _translated(self, repository: str, ref: str) -> Iterator[None]:
        """Turn the client's errors into this product's, without its tracebacks."""
        import httpx2
        from huggingface_hub import errors

        from genai_pipeline.gateways.hub.file_reader import access_denied, repository_not_found

        endpoint = self._endpoint
        try:
            yield
        except errors.RevisionNotFoundError:
            raise RevisionNotFound(
                f"{repository} has no revision {ref!r} at {endpoint}.", "Correct `source.ref` in the model file."
            ) from None
        except (errors.GatedRepoError, errors.DisabledRepoError):
            raise access_denied(repository, endpoint) from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError):
            raise repository_not_found(repository, endpoint) from None
        except errors.OfflineModeIsEnabled:
            raise HubUnavailable(
                "HF_HUB_OFFLINE is set, so huggingface_hub asks no server.", "Unset HF_HUB_OFFLINE."
            ) from None
        except errors.HfHubHTTPError as error:
            raise self._refused_or_down(repository, error.response.status_code, error.response.headers) from None
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise HubUnavailable(f"{endpoint} did not answer for {repository}: {why}.", TRY_AGAIN) from None
        except (ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__} {error}"
            raise HubUnavailable(
                f"The answer of {endpoint} for {repository} is not that of a hub: {why}.", TRY_AGAIN
            ) from None

    def _refused_or_down(
        self, repository: str, status: int, headers: Mapping[str, str]
    ) -> AccessDenied | HubUnavailable:
        from genai_pipeline.gateways.hub.file_reader import access_denied

        if status in (401, 403):
            return access_denied(repository, self._endpoint)
        if status == 429:
            asked_s = retry_after_s(headers)
            wish = f" It asks for {asked_s:.0f} s." if asked_s else ""
            return RateLimited(f"{self._endpoint} limits requests for {repository}.{wish}", TRY_AGAIN, asked_s)
        return HubUnavailable(f"{self._endpoint} answered {status} for {repository}.", TRY_AGAIN)


def _file(sibling: RepoSibling) -> SnapshotFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return SnapshotFile(sibling.rfilename, -1 if sibling.size is None else sibling.size, sibling.blob_id, sha256)


def _licence(info: ModelInfo) -> str | None:
    """Return what the model card states and the hub keeps as tags."""
    return stated_licences(info.card_data.get("license") if info.card_data else None, info.tags or ())

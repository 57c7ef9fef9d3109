"""What S3s other than Amazon's refuse: faults for `Proxy`, in the shape of their errors.

Sources: Backblaze, "Use the AWS SDK for Java V2 with Backblaze B2" (the headers that it does not take); Cloudflare R2
status of 2025-01-17; AWS SDK for JavaScript, "MD5 fallback"; public reports of the messages.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes import bad_replies as bad
from tests.fakes.exchange import Decide, Exchange, Fault

Refusal = Callable[[Exchange], Fault | None]
CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")
NOT_IMPLEMENTED = "A header you provided implies functionality that is not implemented."


def checksums(exchange: Exchange) -> list[str]:
    """Return the names of headers that ask for or bring a checksum other than an MD5."""
    return [name.lower() for name, _ in exchange.head.headers if name.lower().startswith(CHECKSUMS)]


def deletes_many(exchange: Exchange) -> bool:
    return exchange.method == "POST" and "delete" in exchange.query


def begins(exchange: Exchange) -> bool:
    return exchange.method == "POST" and "uploads" in exchange.query


def backblaze(exchange: Exchange) -> Fault | None:
    """No header of a checksum, nor the question for one with an object."""
    found = checksums(exchange)
    return _unsupported(found[0]) if found else None


def refuses_with_bodies(exchange: Exchange) -> Fault | None:
    """It takes the header of a new upload, and refuses what the parts bring."""
    found = [] if begins(exchange) else checksums(exchange)
    return _unsupported(found[0]) if found else None


class StrictAboutParts:
    """As `refuses_with_bodies`. And an upload that was begun with a checksum takes no part without it."""

    def __init__(self) -> None:
        self._with_checksum: set[str] = set()

    def __call__(self, exchange: Exchange) -> Fault | None:
        if begins(exchange):
            change = self._with_checksum.add if checksums(exchange) else self._with_checksum.discard
            change(exchange.path)
        elif exchange.part and exchange.path in self._with_checksum and not checksums(exchange):
            return bad.s3_error(400, "InvalidRequest", "Checksum Type mismatch occurred")
        return refuses_with_bodies(exchange)


def r2(exchange: Exchange) -> Fault | None:
    """Cloudflare in 2025, and s3proxy."""
    found = checksums(exchange)
    words = f"Header '{found[0]}' with value 'CRC64NVME' not implemented" if found else ""
    return bad.s3_error(501, "NotImplemented", words) if found else None


def ceph(exchange: Exchange) -> Fault | None:
    return bad.s3_error(501, "NotImplemented", NOT_IMPLEMENTED) if checksums(exchange) else None


def old_ceph(exchange: Exchange) -> Fault | None:
    """It takes the checksum for the digest of the whole body."""
    mismatch = "The provided x-amz-content-sha256 header does not match what was computed."
    brings = exchange.head.get("x-amz-checksum-crc64nvme")
    return bad.s3_error(400, "XAmzContentSHA256Mismatch", mismatch) if brings else None


def minio(exchange: Exchange) -> Fault | None:
    """Before 2025: it ignores unknown checksums, and demands an MD5 for DeleteObjects."""
    if deletes_many(exchange) and not exchange.head.get("Content-MD5"):
        return bad.s3_error(400, "MissingContentMD5", "Missing required header for this request: Content-Md5.")
    return None


def google(exchange: Exchange) -> Fault | None:
    return bad.s3_error(400, "InvalidArgument", "Invalid argument.") if deletes_many(exchange) else None


def google_now(exchange: Exchange) -> Fault | None:
    words = "A header or query you provided requested a function that is not implemented."
    return bad.s3_error(400, "NotImplemented", words) if deletes_many(exchange) else None


def no_copies(exchange: Exchange) -> Fault | None:
    return bad.s3_error(501, "NotImplemented", NOT_IMPLEMENTED) if exchange.head.get("x-amz-copy-source") else None


def no_conditions(exchange: Exchange) -> Fault | None:
    asks = exchange.method == "PUT" and (exchange.head.get("If-None-Match") or exchange.head.get("If-Match"))
    return bad.s3_error(501, "NotImplemented", NOT_IMPLEMENTED) if asks else None


def no_uploads(exchange: Exchange) -> Fault | None:
    return bad.s3_error(501, "NotImplemented", NOT_IMPLEMENTED) if begins(exchange) else None


def no_checksum_at_all(exchange: Exchange) -> Fault | None:
    """Neither a CRC nor an MD5 of a body that the stager sends."""
    found = [*checksums(exchange), *(["content-md5"] if exchange.head.get("Content-MD5") else [])]
    return _unsupported(found[0]) if found and not begins(exchange) else None


def of_all(*refusals: Refusal) -> Decide:
    return lambda exchange: next((fault for refusal in refusals if (fault := refusal(exchange))), None)


def _unsupported(header: str) -> Fault:
    return bad.s3_error(400, "InvalidArgument", f"Unsupported header '{header}' received for this API call.")

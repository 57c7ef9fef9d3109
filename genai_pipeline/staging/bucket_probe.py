"""Find out before anything moves what a bucket can do. Records and manifests rest on conditional writes.

Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes". Other servers answer 501, or
ignore the headers in silence. Then two processes overwrite each other's records, and neither notices.

What a server refuses is noted in the store's `abilities` by the first request that shows it. So a staging that begins
with `require_uploads` sends no large part twice. What a killed probe leaves is below leases/, and deleted after a day.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress

from genai_pipeline.core.errors import AlreadyExists, GenaiError, Refused, StoreConflict
from genai_pipeline.gateways.store.abc import ObjectStore, UploadedPart
from genai_pipeline.staging.lease import LEASES

REMEDY = "Use a store that keeps `If-None-Match` and `If-Match` of PutObject, as Amazon S3 and SeaweedFS do."
NO_ETAG = "0" * 32
BODY = b"probe"


def require_conditional_writes(store: ObjectStore) -> None:
    """Write a small object under conditions that must not hold, and delete it.

    Raises: Refused: the store refuses the conditions, or ignores them. AccessDenied, StoreUnavailable.
    """
    key = _key()
    store.put_new(key, b"")
    try:
        try:
            store.put_new(key, b"again")
        except AlreadyExists:
            pass
        else:
            raise Refused(f"{store.url('')} ignores `If-None-Match`: it overwrote an object that exists.", REMEDY)
        try:
            store.put_if_match(key, b"again", NO_ETAG)
        except StoreConflict:
            pass
        else:
            raise Refused(f"{store.url('')} ignores `If-Match`: it overwrote an object with another ETag.", REMEDY)
    finally:
        store.delete(key)


def require_uploads(store: ObjectStore) -> None:
    """Write an object as a file of many parts is written, and delete it.

    Raises: Refused: the store knows no multipart uploads, or not with these checksums. AccessDenied, StoreUnavailable.
    """
    key = _key()
    try:
        _upload(store, key)
    except (Refused, StoreConflict):  # MinIO says InvalidPart where it does not know a checksum of the whole object
        store.abilities.crc64 = False
        _upload(store, key)
    store.abilities.known = True
    with suppress(GenaiError):  # a right to delete is not needed here, and the object goes after a day
        store.delete(key)


def lacks(store: ObjectStore) -> Iterator[str]:
    """Try a small file, a copy and a delete of several objects. Yield what the store lacks, and what follows.

    Raises: Refused: it lacks what nothing replaces. AccessDenied, StoreUnavailable.
    """
    key = _key()
    store.put_file(key, BODY)
    try:
        store.copy(key, f"{key}-copy")
    except Refused as refused:
        yield f"makes no copies ({refused.what}): a file that another revision has is sent again"
    store.delete_all([key, f"{key}-copy"])
    if not store.abilities.crc64:
        yield "gets an MD5 in place of a CRC-64/NVME, which costs 2 to 3 s of processor time for each GiB"
    if not store.abilities.many_deletes:
        yield "deletes one object by a request, so that a prune takes longer"


def _upload(store: ObjectStore, key: str) -> None:
    upload = store.begin_upload(key)
    try:
        part: UploadedPart = store.upload_part(upload, 1, BODY)
        store.complete_upload(upload, [part])
    except BaseException:
        with suppress(GenaiError):
            store.abort_upload(upload)
        raise


def _key() -> str:
    return f"{LEASES}probe/{secrets.token_hex(8)}"

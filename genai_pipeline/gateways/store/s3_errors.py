"""Turns the errors of boto3 into this product's, each with a remedy."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    InvalidChecksumConfigError,
    InvalidConfigError,
    LoginError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from urllib3 import exceptions
from urllib3.exceptions import HTTPError

from genai_pipeline.core.errors import AccessDenied, GenaiError, NotFound, Refused, StoreConflict, StoreUnavailable
from genai_pipeline.gateways.aws.denials import CLOCK, EXPIRED, RENEW, denial, safe_words
from genai_pipeline.gateways.aws.pod_identity import NOT_GIVEN, REMEDY, has_pod_identity, lacks_pod_identity

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    ProfileNotFound,
    InvalidConfigError,
    ConfigParseError,
    ConfigNotFound,
    FileNotFoundError,  # of a web identity's token, which boto3 reads before each request that needs a new one
    PermissionError,
)
BROKEN_STREAM = (HTTPClientError, IncompleteReadError, HTTPError, ConnectionError, TimeoutError)
"""Errors of reading a body whose connection breaks."""
WRONG_CHECKSUM = FlexibleChecksumError
"""Error of a body that was read to its end."""
_TLS = (SSLError, exceptions.SSLError)
_LAPSED = (SSOError, LoginError, TokenRetrievalError)
_STILL_EXPIRED = "Credentials were refreshed, but the refreshed credentials are still expired."
"""The text of a RuntimeError of botocore."""
_SET_KEYS = (
    "On a laptop run `genai up`, which creates credentials. Elsewhere set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
    " or give this process an IAM role."
)
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "403"}
_BUSY = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ThrottlingException", "503", "429"}
"""ThrottlingException: of KMS, with the status 400."""
_DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
_CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", "InvalidPart", "InvalidPartOrder", "412"}
_ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307"}
_UNKNOWN = {"InvalidRequest", "InvalidArgument", "NotImplemented", "501"}
"""Codes of a header or operation that a server does not know, as MinIO, Ceph, R2, Backblaze and Google answer."""
_CHECKSUM_WORDS = ("checksum", "x-amz-trailer", "content-md5")
_NO_CHECKSUMS = (
    "Set AWS_REQUEST_CHECKSUM_CALCULATION=when_required and AWS_RESPONSE_CHECKSUM_VALIDATION=when_required: then only "
    "an MD5 is sent. If they are set, use another S3."
)
_ABSENT = {"NoSuchKey", "NoSuchUpload", "NotFound", "404"}
_ABOUT_THE_BUCKET = {"ListObjectsV2", "ListMultipartUploads", "HeadBucket"}
"""Operations that name no key. What is absent is the bucket, whatever the server calls it."""


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def is_conflict(error: ClientError) -> bool:
    return code_of(error) in _CONFLICT


def refuses_checksum(error: ClientError) -> bool:
    """Return whether the server may have refused the request because of its checksum.

    A digest of a body that was sent without one cannot be wrong: Ceph says so of a header that it does not know.
    """
    return code_of(error) in (*_UNKNOWN, "XAmzContentSHA256Mismatch")


def refuses_many_deletes(error: ClientError) -> bool:
    """Return whether the server may know no DeleteObjects, or not with this checksum."""
    return code_of(error) in (*_UNKNOWN, "MissingContentMD5", "MethodNotAllowed", "405")


def translated(error: Exception, what: str, address: str, endpoint: str) -> GenaiError | None:
    """Return this product's error for one of boto3's, or None for a bug in this product.

    Args:
        what: the verb and the address, e.g. ``read s3://genai/a``.
        endpoint: which server was asked, for a person.
    """
    if isinstance(error, _NO_CREDENTIALS):
        return AccessDenied(f"There are no credentials to {what}: {_words(error)}.", _remedy_without(error))
    if isinstance(error, _LAPSED) or str(error) == _STILL_EXPIRED:
        return AccessDenied(f"There are no credentials to {what}: {_words(error)}.", RENEW)
    if isinstance(error, ClientError):
        return _refusal(error, what, address, endpoint)
    if isinstance(error, InvalidChecksumConfigError):
        return Refused(
            f"Cannot {what}: {_words(error)}.", "Correct the variable of this name, or the file of the AWS CLI."
        )
    if isinstance(error, ParamValidationError):
        return Refused(f"Cannot {what}: {_words(error)}.", "Correct the name of the bucket, or the key.")
    if isinstance(error, (BotoCoreError, *BROKEN_STREAM)):
        remedy = f"Check that {endpoint} is up and reachable, then run this again."
        if isinstance(error, _TLS):
            remedy += " If a private authority signed its certificate, set AWS_CA_BUNDLE to a file with its own."
        return StoreUnavailable(f"The object store did not {what}: {_words(error)}.", remedy)
    return None


def _refusal(error: ClientError, what: str, address: str, endpoint: str) -> GenaiError:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket" or (code in _ABSENT and error.operation_name in _ABOUT_THE_BUCKET):
        bucket = address.removeprefix("s3://").partition("/")[0]
        return NotFound(
            f"Cannot {what}: the bucket {bucket} does not exist at {endpoint}.",
            "Create it, or correct its name: GENAI_BUCKET, or a source's.",
        )
    if code in _ABSENT:
        return NotFound(f"{address} does not exist.", "Check the key.")
    if code in _CONFLICT:
        return StoreConflict(f"{address} was changed by another process meanwhile.", "Read it again and retry.")
    if code in CLOCK:
        return StoreUnavailable(
            f"{endpoint} refused to {what}, because this machine's clock is wrong ({_words(error)}).",
            "Set the clock (by NTP), then run this again.",
        )
    if code in _DAMAGED:
        return StoreUnavailable(
            f"The bytes sent to {what} arrived damaged at every try ({code}).",
            f"Find what changes bytes between here and {endpoint} (a proxy, bad memory), then run this again. "
            f"Or the server knows no such checksum. {_NO_CHECKSUMS}",
        )
    return _access_refusal(error, code, status, what, endpoint) or _service_refusal(error, code, status, what, endpoint)


def _access_refusal(error: ClientError, code: str, status: int, what: str, endpoint: str) -> GenaiError | None:
    if code in EXPIRED:
        return AccessDenied(
            f"{endpoint} does not let these credentials {what}: they have expired ({code}).",
            RENEW,
        )
    why = denial(code, str(error.response.get("Error", {}).get("Message", "")), "")
    if why and why.named:
        return AccessDenied(f"{endpoint} does not let these credentials {what}. {why.what}.", why.remedy)
    if code in _DENIED or status in (401, 403):
        return AccessDenied(
            f"{endpoint} does not let these credentials {what} ({_said(error)}).",
            f"{_SET_KEYS} It needs "
            "s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket and the multipart actions.",
        )
    return None


def _service_refusal(error: ClientError, code: str, status: int, what: str, endpoint: str) -> GenaiError:
    if code in _ELSEWHERE and (region := _region_of(error)):
        return Refused(
            f"Cannot {what}: the bucket is in {region}.", f"Set AWS_REGION={region}, of a source its `region`."
        )
    refused = f"{endpoint} refused to {what}: {_words(error)}."
    if status in (400, 501) and any(word in str(error).lower() for word in _CHECKSUM_WORDS):
        return Refused(refused, _NO_CHECKSUMS)
    if status == 501:
        return Refused(
            f"{endpoint} cannot {what} ({_said(error)}).",
            "Use an S3 that has conditional writes (If-None-Match), and multipart uploads with their listings.",
        )
    if code in _BUSY or status == 429 or status >= 500:
        return StoreUnavailable(
            f"The object store could not {what} now ({_said(error)}).", "Run this again in a minute."
        )
    return Refused(refused, "Correct what it names.")


def _region_of(error: ClientError) -> str:
    """Return the region of the bucket, which S3 names in a header or in the body."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("x-amz-bucket-region") or str(error.response.get("Error", {}).get("Region", ""))


def _said(error: ClientError) -> str:
    """Return the code and S3's own message, which names the action, resource or limit."""
    message = safe_words(str(error.response.get("Error", {}).get("Message", "")))
    return f"{code_of(error)}: {message}" if message else code_of(error)


def _words(error: Exception) -> str:
    return safe_words(str(error)) or type(error).__name__


def _remedy_without(error: Exception) -> str:
    """Return what to do where there are no credentials."""
    if isinstance(error, CredentialRetrievalError) and has_pod_identity():
        return REMEDY
    return NOT_GIVEN if isinstance(error, NoCredentialsError) and lacks_pod_identity() else _SET_KEYS

"""What an S3 may answer on a bad day, one of each."""

from __future__ import annotations

from genai_pipeline.core.errors import AccessDenied, GenaiError, NotFound, Refused, StagingError, StoreUnavailable
from tests.fakes import bad_replies as bad
from tests.faults.staging.bad_hub import HTML
from tests.faults.staging.reply import BadReply

_PART = bad.asks("PUT", r"\.safetensors$", partNumber="")
_BEGIN = bad.asks("POST", r"\.safetensors$", uploads="")
_COMPLETE = bad.asks("POST", r"\.safetensors$", uploadId="")
_SMALL_FILE = bad.asks("PUT", r"tokenizer\.json$")
_MANIFEST = bad.asks("PUT", r"/manifest\.json$")
_READ_MANIFEST = bad.asks("GET", r"/manifest\.json$")
_LIST = bad.asks("GET", **{"list-type": "2"})

_xml = {"Content-Type": "application/xml"}
_COMPLETE_ERROR = bad.s3_error(200, "InternalError", "We encountered an internal error. Please try again.")
"""Source: Amazon S3 API Reference, "CompleteMultipartUpload": a 200 may carry an error in its body."""


def _html(status: int) -> bad.Fault:
    return bad.answer(status, {"Content-Type": "text/html"}, HTML)


S3_REPLIES = [
    BadReply("SlowDown", _PART, bad.s3_error(503, "SlowDown", "Reduce your request rate."), StoreUnavailable),
    BadReply(
        "SlowDown with Retry-After",
        _PART,
        bad.s3_error(503, "SlowDown", "Reduce your request rate.", {"Retry-After": "2"}),
        StoreUnavailable,
    ),
    BadReply("429", _SMALL_FILE, bad.answer(429, {"Retry-After": "1"}), StoreUnavailable),
    BadReply("InternalError", _PART, bad.s3_error(500, "InternalError"), StoreUnavailable),
    BadReply("500 without a body", _SMALL_FILE, bad.answer(500), StoreUnavailable),
    BadReply("502 with a web page", _PART, _html(502), StoreUnavailable),
    BadReply("RequestTimeout", _PART, bad.s3_error(400, "RequestTimeout"), StoreUnavailable),
    BadReply("a web page for a part", _PART, _html(200), StoreUnavailable),
    BadReply("a web page for a small file", _SMALL_FILE, _html(200), StoreUnavailable),
    BadReply("a web page for a new upload", _BEGIN, _html(200), StoreUnavailable),
    BadReply("a web page for a completion", _COMPLETE, _html(200), StoreUnavailable),
    BadReply("a web page for a listing", _LIST, _html(200), StoreUnavailable),
    BadReply(
        "a page that is XML for a listing", _LIST, bad.answer(200, _xml, b"<html>log in</html>"), StoreUnavailable
    ),
    BadReply("nothing for a new upload", _BEGIN, bad.answer(200, _xml), StoreUnavailable),
    BadReply("nothing for a completion", _COMPLETE, bad.answer(200, _xml), StoreUnavailable),
    # The connection that breaks off may take the next try with it, and a request has four.
    BadReply("half a listing", _LIST, bad.shorter, StoreUnavailable, survived=2),
    BadReply("a listing that breaks off", _LIST, bad.truncated, StoreUnavailable, survived=2),
    BadReply("an error in the 200 of a completion", _COMPLETE, _COMPLETE_ERROR, StoreUnavailable),
    BadReply(
        "an error in the 200 of a completion that happened", _COMPLETE, bad.done_but(_COMPLETE_ERROR), None, survived=1
    ),
    BadReply("a completion whose answer is lost", _COMPLETE, bad.lost, None, survived=1),
    BadReply("a completion whose answer is a 503", _COMPLETE, bad.done_but(bad.answer(503)), None, survived=1),
    BadReply("a part whose answer is lost", _PART, bad.lost, StoreUnavailable),
    BadReply("a small file whose answer is lost", _SMALL_FILE, bad.lost, StoreUnavailable),
    BadReply("a manifest whose answer is lost", _MANIFEST, bad.lost, None),
    BadReply("a manifest whose answer is a 503", _MANIFEST, bad.done_but(bad.answer(503)), None),
    BadReply("a connection that breaks in the middle of a part", _PART, bad.dropped, StoreUnavailable),
    BadReply("NoSuchUpload in the middle", _PART, bad.s3_error(404, "NoSuchUpload"), GenaiError, survived=1),
    BadReply("NoSuchUpload at the end", _COMPLETE, bad.s3_error(404, "NoSuchUpload"), GenaiError, survived=1),
    BadReply("InvalidPart", _COMPLETE, bad.s3_error(400, "InvalidPart"), GenaiError, survived=1),
    BadReply(
        "a part's ETag changed",
        _PART,
        bad.with_header("ETag", '"feedfeedfeedfeedfeedfeedfeedfeed"'),
        GenaiError,
        survived=1,
    ),
    BadReply("a part without an ETag", _PART, bad.without_header("ETag"), StoreUnavailable, survived=1),
    BadReply("BadDigest", _PART, bad.s3_error(400, "BadDigest"), GenaiError),
    BadReply("a KMS that throttles", _PART, bad.s3_error(400, "ThrottlingException"), StoreUnavailable),
    BadReply("BadDigest of a small file", _SMALL_FILE, bad.s3_error(400, "BadDigest"), GenaiError),
    BadReply(
        "412 though there is no manifest",
        _MANIFEST,
        bad.s3_error(412, "PreconditionFailed"),
        StoreUnavailable,
        survived=1,
    ),
    BadReply("409 for a manifest", _MANIFEST, bad.s3_error(409, "ConditionalRequestConflict"), GenaiError, survived=1),
    BadReply(
        "the clock is wrong",
        _PART,
        bad.s3_error(403, "RequestTimeTooSkewed"),
        StoreUnavailable,
        survived=0,
        says="clock",
    ),
    BadReply(
        "keys that have expired", _PART, bad.s3_error(400, "ExpiredToken"), AccessDenied, survived=0, says="expired"
    ),
    BadReply(
        "keys that may not", _PART, bad.s3_error(403, "AccessDenied"), AccessDenied, survived=0, says="s3:PutObject"
    ),
    BadReply(
        "a signature that does not match", _PART, bad.s3_error(403, "SignatureDoesNotMatch"), AccessDenied, survived=0
    ),
    BadReply("a bucket that is gone", _PART, bad.s3_error(404, "NoSuchBucket"), NotFound, survived=0, says="bucket"),
    BadReply("a bucket elsewhere", _PART, bad.s3_error(301, "PermanentRedirect"), Refused, survived=0),
    BadReply(
        "a bucket in another region",
        _PART,
        bad.s3_error(400, "AuthorizationHeaderMalformed", headers={"x-amz-bucket-region": "eu-west-1"}),
        Refused,
        survived=0,
        says="Set AWS_REGION=eu-west-1",
    ),
    BadReply("a redirect to itself", _PART, bad.redirect(lambda e: e.target, 307), GenaiError, survived=0),
    BadReply("a manifest that is a web page", _READ_MANIFEST, _html(200), StoreUnavailable),
    BadReply(
        "a manifest that is something else",
        _READ_MANIFEST,
        bad.answer(200, {"ETag": '"feed"'}, b"[]"),
        StagingError,
        survived=0,
        says="is not a manifest",
    ),
]

S3_REPLIES_IN_SHORT = frozenset(
    {
        "SlowDown",
        "InternalError",
        "a web page for a part",
        "a web page for a listing",
        "an error in the 200 of a completion",
        "a completion whose answer is lost",
        "a part whose answer is lost",
        "a manifest whose answer is lost",
        "NoSuchUpload in the middle",
        "BadDigest",
        "412 though there is no manifest",
        "keys that may not",
        "a bucket in another region",
        "a manifest that is something else",
    }
)
"""One of each class; the others take the same way through the code with other bytes."""

import base64
import hashlib
import itertools

import pytest

from genai_pipeline.core.errors import ChecksumMismatch
from genai_pipeline.core.model_snapshot import SnapshotFile
from genai_pipeline.gateways.store.abc import UploadedPart
from genai_pipeline.gateways.store.checksums import crc64nvme, is_body, of_parts
from genai_pipeline.staging.digest import Digest, OrderedHasher
from tests.fakes.weights import safetensors_of

BODY = safetensors_of(1280, bytes(range(256)))
PARTS = [BODY[:300], BODY[300:1000], BODY[1000:]]
FILE = SnapshotFile("model.safetensors", len(BODY), sha256=hashlib.sha256(BODY).hexdigest())


def test_crc64nvme_is_the_one_that_s3_means():
    # The check value of CRC-64/NVME in "Catalogue of parametrised CRC algorithms".
    assert base64.b64decode(crc64nvme(b"123456789")).hex() == "ae8b14860a799888"


def test_checksums_of_parts_add_up_to_that_of_the_whole():
    parts = [UploadedPart(n, len(body), "", crc64nvme(body)) for n, body in enumerate(PARTS, 1)]
    assert of_parts(parts) == crc64nvme(BODY)
    assert of_parts([*parts, UploadedPart(4, 1, "")]) is None


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_parts_are_hashed_in_order_whichever_order_they_come_in(order):
    digest, ended = Digest(FILE), []
    hashing = OrderedHasher(digest)
    for index in order:
        hashing.add(index + 1, PARTS[index], lambda index=index: ended.append(index))
    assert digest.check() == FILE.sha256
    assert sorted(ended) == [0, 1, 2]


def test_an_abandoned_digest_lets_go_of_every_body():
    ended = []
    hashing = OrderedHasher(Digest(FILE))
    hashing.add(2, PARTS[1], lambda: ended.append(2))
    hashing.abandon()
    hashing.add(3, PARTS[2], lambda: ended.append(3))
    assert ended == [2, 3]


def test_a_mismatch_names_the_file_and_both_digests_and_what_to_do():
    digest = Digest(FILE)
    digest.update(BODY[:-1])
    with pytest.raises(ChecksumMismatch) as caught:
        digest.check()
    for word in (FILE.path, FILE.sha256, hashlib.sha256(BODY[:-1]).hexdigest()):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("part", "same"),
    [
        (UploadedPart(1, len(BODY), "any", crc64nvme(BODY)), True),
        (UploadedPart(1, len(BODY), "any", crc64nvme(PARTS[0])), False),
        (UploadedPart(1, len(BODY), hashlib.md5(BODY).hexdigest()), True),
        (UploadedPart(1, len(BODY), hashlib.md5(PARTS[0]).hexdigest()), False),
        (UploadedPart(1, len(BODY) - 1, "any", crc64nvme(BODY)), False),
        (UploadedPart(1, len(BODY), "an ETag of an encrypted part"), False),
    ],
)
def test_a_stored_part_counts_only_if_the_store_vouches_for_these_very_bytes(part, same):
    assert is_body(part, memoryview(BODY)) is same

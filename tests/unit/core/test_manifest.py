import json

import pytest

from genai_pipeline.core.manifest import Manifest, ManifestFile

OLD = {
    "model": "tiny",
    "source": "owner/tiny",
    "revision": "a" * 40,
    "files": [{"path": "config.json", "size": 2, "sha256": "b" * 64, "etag": "c"}],
    "written_by": "somebody",
    "written_at": "2026-01-01T00:00:00Z",
    "format": 1,
}


def test_what_was_written_is_read_back():
    file = ManifestFile("a", 10, "b" * 64, "etag-2", 6, "crc64nvme:AAAA")
    manifest = Manifest("tiny", "owner/tiny", "a" * 40, (file,), "somebody", "now", "genai-pipeline 1")
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.format == 2


def test_a_manifest_of_format_1_is_still_read():
    manifest = Manifest.from_bytes(json.dumps(OLD).encode())
    assert manifest.format == 1
    assert manifest.files == (ManifestFile("config.json", 2, "b" * 64, "c", None, None),)


@pytest.mark.parametrize("number", [0, 3, "2", None, 1.5])
def test_a_format_that_this_program_does_not_know_is_refused(number: object):
    with pytest.raises(ValueError, match=r"format .* is not one of 1 to 2"):
        Manifest.from_bytes(json.dumps(OLD | {"format": number}).encode())

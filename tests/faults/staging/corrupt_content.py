"""What a publisher can get wrong, one mistake at a time: each changes a good revision's files, or their listing."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import HubUnavailable, IncompleteModel, Refused, UnsafeFormat, UnsafePath
from tests.fakes.model_repository import INDEX, model_files

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
Files = dict[str, bytes]
Listing = list[dict[str, Any]]


def good_files() -> Files:
    return model_files({FIRST: 4000, SECOND: 3000}, seed=7)


@dataclass(frozen=True)
class Corruption:
    """A name that says what is wrong, what to do to a good revision, and the file that has to be named."""

    name: str
    change: Callable[[Any], object]
    names: str
    error: type[Exception]

    def __str__(self) -> str:
        return self.name.replace(" ", "_")


def with_header(header: object, data: bytes = b"d" * 64, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(begin: int, end: int, dtype: str = "U8", shape: list[int] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def torch_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"weight": [1, 2, 3]}))
    return out.getvalue()


def _first(name: str, body: bytes) -> Corruption:
    return Corruption(name, lambda files: files.update({FIRST: body}), FIRST, UnsafeFormat)


def _more(name: str, path: str, body: bytes) -> Corruption:
    return Corruption(name, lambda files: files.update({path: body}), path, UnsafeFormat)


def _index(name: str, body: object, names: str, error: type[Exception] = IncompleteModel) -> Corruption:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Corruption(name, lambda files: files.update({INDEX: text}), names, error)


GOOD = good_files()[FIRST]
PICKLE = pickle.dumps({"weights": list(range(500))})

CONTENT = [
    _first("a pickle dressed as safetensors", PICKLE),
    _first("a torch archive dressed as safetensors", torch_zip()),
    _first("a web page dressed as safetensors", b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"),
    _first(
        "a pointer of git-lfs in place of the weights", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    ),
    _first("an empty safetensors file", b""),
    _first("a safetensors file of seven bytes", b"\x10" + b"\0" * 6),
    _first("a header of absurd length", with_header({"a": tensor(0, 64)}, length=2**63)),
    _first("a header of the greatest length there is", b"\xff" * 8 + b"{}" + b"d" * 64),
    _first("a header one byte longer than the file", with_header({"a": tensor(0, 64)}, b"", length=5000)),
    _first("a header of no length", with_header(b"", length=0)),
    _first("a header of one byte", with_header(b"{", length=1)),
    _first("a header that is not JSON", with_header(b'{"a": nonsense}')),
    _first("a header that is cut off", with_header(b'{"a": {"dtype": "U8", ')),
    _first("a header that is a list", with_header([tensor(0, 64)])),
    _first("a header that does not start with a brace", with_header(b" " + json.dumps({"a": tensor(0, 64)}).encode())),
    _first("a header nested beyond all depth", with_header(b'{"a":' + b"[" * 3000)),
    _first("a tensor that ends outside the file", with_header({"a": tensor(0, 65)})),
    _first("a tensor that begins outside the file", with_header({"a": tensor(900, 964)})),
    _first("a tensor that ends before it begins", with_header({"a": tensor(64, 0, shape=[0])})),
    _first("a tensor at a negative offset", with_header({"a": tensor(-64, 0)})),
    _first("two tensors that overlap", with_header({"a": tensor(0, 40), "b": tensor(24, 64)})),
    _first("a gap between two tensors", with_header({"a": tensor(0, 30), "b": tensor(34, 64)})),
    _first("a tensor whose shape does not fill its bytes", with_header({"a": tensor(0, 64, "F32", [64])})),
    _first("a tensor of a negative shape", with_header({"a": tensor(0, 64, shape=[-8, -8])})),
    _first("a tensor without offsets", with_header({"a": {"dtype": "U8", "shape": [64]}})),
    _first(
        "a tensor that stands there twice",
        with_header(b'{"a":%b,"a":%b}' % ((json.dumps(tensor(0, 64)).encode(),) * 2)),
    ),
    _first("metadata that is not strings", with_header({"__metadata__": {"n": 1}, "a": tensor(0, 64)})),
    _first("a truncated safetensors file", GOOD[:-1]),
    _first("a safetensors file with bytes behind its tensors", GOOD + b"x"),
    _more("a pickle by its suffix", "pytorch_model.bin", b"anything"),
    _more("a pickle by its suffix in capitals", "old/weights.PT", b"anything"),
    _more("a pickle by its bytes under a harmless name", "tokenizer.model", PICKLE),
    _more("a torch archive under a harmless name", "weights.dat", torch_zip()),
    _more("weights of a format that nobody allowed", "model.gguf", b"GGUF"),
    _more("weights that Keras would run code of", "tf_model.h5", b"\x89HDF"),
    _index(
        "an index that names a missing shard",
        {"weight_map": {"a": FIRST, "b": "model-00003.safetensors"}},
        "model-00003",
    ),
    _index("an index that names a shard elsewhere", {"weight_map": {"a": f"../{FIRST}"}}, f"../{FIRST}"),
    _index("an index that is not JSON", b"not json", INDEX),
    _index("an index without a weight map", {"metadata": {}}, INDEX),
    _index("an index whose weight map is a list", {"weight_map": [FIRST]}, INDEX),
    _index("an index whose weight map is empty", {"weight_map": {}}, INDEX),
    _index("an index that maps to numbers", {"weight_map": {"a": 1}}, INDEX),
    Corruption("a shard that is missing", lambda files: files.pop(SECOND), SECOND, IncompleteModel),
    Corruption(
        "an index in a folder that names a missing shard",
        lambda files: files.update({f"part/{INDEX}": json.dumps({"weight_map": {"a": FIRST}}).encode()}),
        f"part/{FIRST}",
        IncompleteModel,
    ),
    Corruption(
        "a manifest of its own", lambda files: files.update({"manifest.json": b"{}"}), "manifest.json", UnsafePath
    ),
]

CONTENT_IN_SHORT = frozenset(
    {
        "a pickle dressed as safetensors",
        "an empty safetensors file",
        "a header of absurd length",
        "a header that is not JSON",
        "two tensors that overlap",
        "a pickle by its suffix",
        "a pickle by its bytes under a harmless name",
        "an index that names a missing shard",
        "an index that is not JSON",
        "a manifest of its own",
    }
)
"""One of each class of mistake."""


def _listed(name: str, path: str, shown: str | None = None, error: type[Exception] = UnsafePath) -> Corruption:
    def change(listing: Listing) -> None:
        listing.append({"rfilename": path, "size": 3, "blobId": "a" * 40})

    return Corruption(name, change, repr(path)[1:60] if shown is None else shown, error)


def _entry(name: str, about: dict[str, Any], error: type[Exception] = Refused) -> Corruption:
    def change(listing: Listing) -> None:
        next(entry for entry in listing if entry["rfilename"] == "config.json").update(about)

    return Corruption(name, change, "config.json", error)


LISTINGS = [
    _listed("a path that leads up", "../evil.json"),
    _listed("a path that leads up from within", "sub/../../evil.json"),
    _listed("an absolute path", "/etc/passwd"),
    _listed("a path with NUL", "config\0.json"),
    _listed("a path with a line break", "config\n.json"),
    _listed("a path with an escape", "config\x1b[2J.json"),
    _listed("a path that is written backwards", "config\u202enosj.exe"),
    _listed("a path with a space of no width", "con\u200bfig.json"),
    _listed("a path with a backslash", "..\\evil.json"),
    _listed("a path longer than a key", "/".join(["d" * 200] * 6)),
    _listed("a path of too many bytes in few characters", "/".join(["日" * 80] * 4 + ["本" * 40])),
    _listed("a name longer than a file system takes", "n" * 256),
    _listed("an empty path", "", "''"),
    _listed("an empty name in a path", "sub//notes.txt"),
    _listed("a path that means itself", "sub/./more.txt"),
    _listed("a path that ends in a slash", "sub/"),
    _listed("a path that is two dots", ".."),
    _listed("a name that ends in a dot", "config.json."),
    _listed("a name that ends in a space", "config.json "),
    _listed("a manifest in capitals", "MANIFEST.json"),
    _listed("a twin in capitals", "CONFIG.json"),
    _listed("a twin in wide letters", "ｃｏｎｆｉｇ.json"),
    _listed("a file where another has a folder", "sub"),
    _listed("a path that is listed twice", "config.json"),
    Corruption(
        "two spellings of one name in Unicode",
        lambda listing: listing.extend(
            {"rfilename": path, "size": 3, "blobId": "a" * 40} for path in ("caf\u00e9.json", "cafe\u0301.json")
        ),
        "caf",
        UnsafePath,
    ),
    _entry("a negative size", {"size": -1}, HubUnavailable),
    _entry("a size beyond what S3 takes", {"size": 2**60}),
    _entry("no size", {"size": None}, HubUnavailable),
    _entry("no digest", {"blobId": None}),
    _entry("a digest that is none", {"blobId": "../../etc"}),
    _entry("a sha256 that is too short", {"lfs": {"sha256": "abc", "size": 2, "pointerSize": 100}}),
    Corruption("an empty repository", list.clear, "does not contain any file", Refused),
]

LISTINGS_IN_SHORT = frozenset(
    {
        "a path that leads up",
        "a path with a line break",
        "a path longer than a key",
        "a twin in capitals",
        "a path that is listed twice",
        "no size",
        "no digest",
        "an empty repository",
    }
)
"""One of each class of mistake."""

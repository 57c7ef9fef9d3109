"""Formats against what really writes them: the safetensors library, pickle, and bytes at random."""

import pickle
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from genai_pipeline.core.errors import UnsafeFormat
from genai_pipeline.core.formats import format_of, is_pickle, refuse_disguised
from genai_pipeline.core.repository_paths import path_problem, twins
from tests.fakes.weights import safetensors

TENSORS = {
    "empty": np.zeros((0, 4), dtype=np.float32),
    "scalar": np.array(1.5, dtype=np.float64),
    **{dtype: np.ones((3, 5), dtype=dtype) for dtype in ("bool", "uint8", "int16", "float16", "float32", "int64")},
}


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
@pytest.mark.parametrize("names", [(), ("empty",), ("scalar",), tuple(TENSORS)])
def test_what_the_library_writes_is_accepted(names, metadata):
    body = save({name: TENSORS[name] for name in names}, metadata)

    refuse_disguised("model.safetensors", body, len(body))


@given(st.integers(0, 199), st.integers(0, 255))
def test_whatever_the_library_does_not_read_is_refused(at, byte):
    body = bytearray(save({"a": TENSORS["int16"], "b": TENSORS["uint8"]}))
    if at < len(body):
        body[at] = byte
    try:
        load(bytes(body))
    except (SafetensorError, KeyError, ValueError):
        with pytest.raises(UnsafeFormat, match=r"m\.safetensors"):
            refuse_disguised("m.safetensors", bytes(body), len(body))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [None, {"weights": [1.0] * 50_000}, b"x" * 200_000, print])
def test_a_pickle_is_known_by_its_first_bytes(protocol, value):
    assert is_pickle(pickle.dumps(value, protocol)[: 64 * 1024])


def test_bytes_at_random_are_no_pickles_even_with_its_first_two():
    fresh = random.Random(1)
    taken = [is_pickle(b"\x80\x04" + fresh.randbytes(4096)) for _ in range(500)]
    assert sum(taken) < 50


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/B.SafeTensors", "safetensors"), ("x.PT", "pickle"), ("m.gguf", "gguf"), ("config.json", None), ("pt", None)],
)
def test_a_format_is_known_by_the_end_of_the_name(path, name):
    assert format_of(path) == name


@pytest.mark.parametrize(
    "path", ["config.json", "a/b/c.d", ".gitattributes", "日本/ü é.txt", "..a/...b", "-x", "a" * 255, "%2e%2e/x"]
)
def test_an_ordinary_path_is_no_problem(path):
    assert path_problem(path, "models/m/") is None


def test_files_beside_each_other_are_no_twins():
    assert twins(["a", "b/a", "b/c", "bb", "c.json", "c.jsonl"]) is None
    assert twins(["b/a", "B"]) == ("B", "b/a")


def test_a_small_file_of_ours_is_accepted():
    body = safetensors(b"w")
    refuse_disguised("m.safetensors", body, len(body))

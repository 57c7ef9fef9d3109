"""What an engine loads of each layout in which weights are published."""

import json

import pytest
import yaml

from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.weights_layout import Layout, is_root_index, layout_of

INDEX = "model.safetensors.index.json"
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
MERGED = "model.safetensors"


def index_of(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"t{n}": shard for n, shard in enumerate(shards)}}).encode()


def layout(*paths: str, source: str = "owner/name", **indexes: bytes) -> Layout:
    """The layout of these paths; each index names the shards that are given for it, else ONE and TWO."""
    found = {path: index_of(ONE, TWO) for path in paths if is_root_index(path)}
    named = {f"{name}.safetensors.index.json": content for name, content in indexes.items()}
    return layout_of(paths, found | {path: content for path, content in named.items() if path in found}, source)


@pytest.mark.parametrize(
    ("paths", "left_out"),
    [
        ((MERGED,), ()),
        ((INDEX, ONE, TWO), ()),
        ((INDEX, ONE, TWO, "consolidated.safetensors"), ("consolidated.safetensors",)),
        ((INDEX, ONE, TWO, "adapter_model.safetensors"), ("adapter_model.safetensors",)),
        ((INDEX, ONE, TWO, MERGED), (MERGED,)),
        ((INDEX, ONE, TWO, "model.fp16.safetensors"), ("model.fp16.safetensors",)),
        (
            (INDEX, ONE, TWO, "consolidated-00001-of-00001.safetensors", "consolidated.safetensors.index.json"),
            ("consolidated-00001-of-00001.safetensors", "consolidated.safetensors.index.json"),
        ),
        ((MERGED, "consolidated.safetensors"), ("consolidated.safetensors",)),
        ((MERGED, "adapter_model.safetensors"), ("adapter_model.safetensors",)),
        (("merged.safetensors", "adapter_model.safetensors"), ("adapter_model.safetensors",)),
        ((ONE, TWO), ()),
        ((INDEX, ONE, TWO, "original/model.safetensors", "checkpoint-5/model.safetensors"), ()),
        (("consolidated.safetensors", "params.json"), ()),
    ],
)
def test_what_the_root_index_does_not_name_is_left_out(paths, left_out):
    found = layout(*paths)

    root = {path for path in paths if "/" not in path and path.endswith(".safetensors")}
    assert (found.problem, {path for path, _ in found.left_out}) == ("", set(left_out))
    assert set(found.loaded) == root - set(left_out)


def test_a_consolidated_layout_of_its_own_goes_by_its_own_index():
    shards = [f"consolidated-{n:05}-of-00002.safetensors" for n in (1, 2)]
    paths = (*shards, "consolidated.safetensors.index.json", "params.json", "stray.safetensors")

    found = layout(*paths, consolidated=index_of(*shards))

    assert (list(found.loaded), [path for path, _ in found.left_out]) == (shards, ["stray.safetensors"])


def test_shards_of_another_index_are_left_out_beside_the_model():
    found = layout(MERGED, "fp16.safetensors", "fp16.safetensors.index.json", fp16=index_of("fp16.safetensors"))

    assert (found.problem, found.loaded) == ("", (MERGED,))
    assert {path for path, _ in found.left_out} == {"fp16.safetensors", "fp16.safetensors.index.json"}


def test_numbers_from_nought_are_whole_with_and_without_an_index():
    shards = [f"model-{n:05}-of-00002.safetensors" for n in range(3)]
    assert layout(*shards, INDEX, model=index_of(*shards)).loaded == tuple(shards)
    assert layout(*shards).loaded == tuple(shards)


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        ((ONE,), TWO),
        ((TWO,), ONE),
        ((INDEX, ONE), TWO),
        ((MERGED, "model.fp16.safetensors"), "no index says which"),
        (("a.safetensors", "b.safetensors"), "no index says which"),
        (("vllm/model.safetensors", "config.json"), "only in vllm/"),
        (("model-Q4.gguf", "README.md"), "loads only safetensors"),
        (("README.md",), "no weights at all"),
        (("adapter_model.safetensors", "adapter_config.json"), "only an adapter"),
        ((INDEX, MERGED), "does not hold"),
        (("a.safetensors.index.json", "b.safetensors.index.json", "c.safetensors"), "There are 2 indexes"),
    ],
)
def test_what_no_engine_could_load_whole_is_a_problem_with_a_remedy(paths, says):
    found = layout(*paths)

    assert says in found.problem
    assert found.remedy
    assert not found.loaded


@pytest.mark.parametrize(
    ("paths", "excluded"),
    [
        ((MERGED, "model.fp16.safetensors"), ["model.fp16.safetensors"]),
        ((INDEX, MERGED), [INDEX]),
        ((MERGED, "odd[1].safetensors"), ["odd[[]1].safetensors"]),
    ],
)
def test_the_lines_of_a_remedy_can_be_pasted_and_make_it_right(paths, excluded):
    lines = layout(*paths).remedy.split("\n", 1)[1]

    source = Source(hub="a/b", **yaml.safe_load(lines)["source"])

    assert list(source.exclude) == excluded
    assert layout(*[path for path in paths if source.selects(path)]).problem == ""


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("s3://bucket/m/", {"s3": "s3://bucket/m/vllm/"}),
        ("/srv/m", {"folder": "/srv/m/vllm"}),
        ("a/b", {"s3": "s3://your-bucket/vllm/"}),
    ],
)
def test_a_folder_of_weights_is_named_as_a_source(source, taken):
    lines = layout("vllm/model.safetensors", source=source).remedy.split("\n", 1)[1]

    assert yaml.safe_load(lines)["source"] == taken


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b'{"weight_map": {}}', b'{"weight_map": {"a": 1}}'])
def test_an_index_that_is_not_one_is_a_problem(content):
    assert "is not a safetensors index" in layout(INDEX, ONE, TWO, model=content).problem


def test_shards_in_a_folder_are_not_loaded_even_if_the_index_names_them():
    found = layout(INDEX, "w/a.safetensors", "b.safetensors", model=index_of("w/a.safetensors", "b.safetensors"))

    assert "loads only `*.safetensors` in the root" in found.problem


def test_ranks_need_the_loader_for_ranks_and_leave_the_old_index_out():
    found = layout("model-rank-0-part-0.safetensors", "model-rank-1-part-0.safetensors", INDEX)

    assert [path for path, _ in found.left_out] == [INDEX]
    assert len(found.loaded) == 2
    assert not found.for_loader("runai_streamer_sharded").problem
    assert "load-format: runai_streamer_sharded" in found.for_loader("runai_streamer").remedy
    assert "load-format: runai_streamer" in layout(MERGED).for_loader("runai_streamer_sharded").remedy

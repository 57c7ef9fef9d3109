"""The folder that the embedded hub serves: whole, small, and without pickles."""

import json
import struct
from pathlib import Path

import pytest
import yaml

from demo.training.conversation import SPECIAL_TOKENS
from demo.training.grammar import FOLDER
from demo.training.shape import SHARDS, Shape, config

REPO = Path(__file__).parents[3] / "demo" / "hub" / "genai-demo" / "weather-agent"
REVISIONS = ("v1", "v2", "v3")
pytestmark = pytest.mark.parametrize("folder", [REPO / name for name in REVISIONS], ids=REVISIONS)


def header(path: Path) -> dict:
    """The header of a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


def test_the_repo_file_describes_every_revision(folder):
    repo = yaml.safe_load((REPO / "repo.yaml").read_text(encoding="utf-8"))
    assert repo["gated"] is False
    assert repo["license"] == "apache-2.0"
    assert repo["refs"] == {"main": "v1"}
    assert set(repo["revisions"]) == set(REVISIONS)
    assert repo["revisions"][folder.name]["title"]


def test_the_index_names_every_tensor_in_the_shard_that_has_it(folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    shards = {path.name: header(path) for path in folder.glob("*.safetensors")}
    assert len(shards) == SHARDS
    held = {tensor: name for name, tensors in shards.items() for tensor in tensors if tensor != "__metadata__"}
    assert held == index["weight_map"]
    sizes = [
        t["data_offsets"][1] - t["data_offsets"][0]
        for s in shards.values()
        for n, t in s.items()
        if n != "__metadata__"
    ]
    assert sum(sizes) == index["metadata"]["total_size"]
    assert {t["dtype"] for s in shards.values() for n, t in s.items() if n != "__metadata__"} == {"BF16"}


def test_a_revision_is_at_most_ten_megabytes(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000_000


def test_nothing_in_a_revision_can_run_code(folder):
    allowed = {".safetensors", ".json", ".jinja", ".md", ""}
    assert {path.suffix for path in folder.iterdir()} <= allowed
    assert (folder / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")


def test_config_and_template_are_those_of_the_recipe(folder):
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == config(Shape())
    template = (FOLDER / "chat_template.jinja").read_text(encoding="utf-8")
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == template
    assert json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"] == template


def test_special_tokens_are_the_first_of_the_vocabulary(folder):
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [vocabulary[token] for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))


def test_decoding_is_greedy_by_default(folder):
    assert json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))["temperature"] == 0.0


def test_the_model_card_states_licence_and_base(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0"
    assert "tool-calling" in front["tags"]

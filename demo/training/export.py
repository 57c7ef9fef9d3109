"""Write a revision as a Hugging Face model folder: three shards and their index, tokenizer, configs, licence.

python -m demo.training.export --weights weights/v1.safetensors --tokenizer tokenizer.json --out hub/v1
"""

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from demo.training.conversation import BOS, EOS, SPECIAL_TOKENS, UNKNOWN
from demo.training.grammar import FOLDER
from demo.training.shape import SHARDS, Shape, config


def shard_of(name: str, layers: int) -> int:
    """Which shard a tensor goes to: the embedding first, the layers in order, the last norm last."""
    if name == "model.norm.weight":
        return SHARDS - 1
    return int(name.split(".")[2]) * SHARDS // layers if name.startswith("model.layers.") else 0


def write_weights(weights: Path, out: Path, shape: Shape) -> None:
    """Split one safetensors file into shards with an index."""
    tensors = load_file(weights)
    shards: list[dict] = [{} for _ in range(SHARDS)]
    for name, tensor in sorted(tensors.items()):
        shards[shard_of(name, shape.layers)][name] = tensor
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{SHARDS:05d}.safetensors"
        save_file(shard, out / file, metadata={"format": "pt"})
        (out / file).chmod(0o644)
        weight_map |= dict.fromkeys(shard, file)
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(
        out / "model.safetensors.index.json",
        {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))},
    )


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tokenizer(tokenizer: Path, out: Path, shape: Shape) -> None:
    """The fast tokenizer, its special tokens and the chat template."""
    shutil.copyfile(tokenizer, out / "tokenizer.json")
    shutil.copyfile(FOLDER / "chat_template.jinja", out / "chat_template.jinja")
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "unk_token": UNKNOWN,
            "pad_token": EOS,
            "additional_special_tokens": SPECIAL_TOKENS[3:],
            "clean_up_tokenization_spaces": False,
            "model_max_length": shape.positions,
            "chat_template": (FOLDER / "chat_template.jinja").read_text(encoding="utf-8"),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("weights", "tokenizer", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    shape, out = Shape(), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    write_weights(arguments.weights, out, shape)
    write_tokenizer(arguments.tokenizer, out, shape)
    write_json(out / "config.json", config(shape))
    ends = {name: value for name, value in config(shape).items() if name.endswith("_token_id")}
    write_json(out / "generation_config.json", ends | {"do_sample": False, "temperature": 0.0})
    shutil.copyfile(FOLDER / "LICENSE", out / "LICENSE")


if __name__ == "__main__":
    main()

"""Repositories in the shapes of widely used families of models: their file lists and forms of index, with tiny weights.

The lists are those of the repositories on the hub that are named, without pictures and notes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.fakes.weights import safetensors

INDEX = "model.safetensors.index.json"
TEMPLATE = b"{{ messages }}"
CARD = "---\nlicense: %s\n---\n# A model\n"


@dataclass(frozen=True)
class Family:
    """One repository.

    Attributes:
        like: the repository whose file list it has.
        files: path -> content.
        loaded: the weights that an engine must load.
        left_out: files that are selected, but not staged.
        source: settings of the model file's `source` that it needs.
        args: arguments of the engine that it needs.
        template: where the chat template is found.
    """

    like: str
    files: dict[str, bytes]
    loaded: list[str]
    left_out: list[str] = field(default_factory=list[str])
    source: dict[str, object] = field(default_factory=dict[str, object])
    args: dict[str, object] = field(default_factory=dict[str, object])
    template: str = "tokenizer_config.json"

    @property
    def name(self) -> str:
        return self.like.split("/")[0]


def shards(*names: str, metadata: bool = True, index: str = INDEX) -> dict[str, bytes]:
    """Return shards and the index that names them. Each holds two tensors of the index."""
    weight_map = {f"model.layers.{n}.{part}": name for n, name in enumerate(names) for part in ("a", "b")}
    about = {"metadata": {"total_size": len(names) * 8}} if metadata else {}
    bodies = {name: safetensors(name.encode()) for name in names}
    return bodies | {index: json.dumps({**about, "weight_map": weight_map}).encode()}


def numbered(count: int, stem: str = "model", first: int = 1) -> list[str]:
    return [f"{stem}-{n:05}-of-{count:05}.safetensors" for n in range(first, count + 1)]


def beside(architecture: str, licence: str = "apache-2.0", template: bool = True, **more: bytes) -> dict[str, bytes]:
    """Return what every repository has beside its weights; `_` in a name stands for a dot or is kept."""
    config = {"chat_template": TEMPLATE.decode()} if template else {}
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": (CARD % licence).encode(),
        "config.json": json.dumps({"architectures": [architecture]}).encode(),
        "generation_config.json": b"{}",
        "tokenizer.json": b"{}",
        "tokenizer_config.json": json.dumps(config).encode(),
        **more,
    }


def _small(*names: str) -> dict[str, bytes]:
    return dict.fromkeys(names, b"{}")


FAMILIES = [
    Family(
        "mistralai/Ministral-3-8B-Instruct-2512",
        beside("Mistral3ForConditionalGeneration", template=False)
        | shards(*numbered(4))
        | {"consolidated.safetensors": safetensors(b"all of it"), "chat_template.jinja": TEMPLATE}
        | _small("params.json", "tekken.json", "processor_config.json", "SYSTEM_PROMPT.txt"),
        numbered(4),
        ["consolidated.safetensors"],
        template="chat_template.jinja",
    ),
    Family(
        "meta-llama/Llama-3.1-8B-Instruct",
        beside("LlamaForCausalLM", "llama3.1")
        | shards(*numbered(4))
        | {"original/consolidated.00.pth": b"\x80\x02not staged"}
        | _small("original/params.json", "original/tokenizer.model", "special_tokens_map.json", "USE_POLICY.md"),
        numbered(4),
        source={"exclude": ["original/"]},
    ),
    Family(
        "Qwen/Qwen3-8B",
        beside("Qwen3ForCausalLM") | shards(*numbered(5)) | _small("merges.txt", "vocab.json", "LICENSE"),
        numbered(5),
    ),
    Family(
        "google/gemma-3-12b-it",
        beside("Gemma3ForConditionalGeneration", "gemma", template=False)
        | shards(*numbered(5))
        | {"chat_template.json": b'{"chat_template": "{{ messages }}"}'}
        | _small("added_tokens.json", "preprocessor_config.json", "processor_config.json", "tokenizer.model"),
        numbered(5),
        template="chat_template.json",
    ),
    Family(
        "openai/gpt-oss-20b",
        beside("GptOssForCausalLM", template=False)
        | shards(*numbered(2, first=0))
        | {"chat_template.jinja": TEMPLATE, "metal/model.bin": b"\x00" * 64}
        | {"original/model.safetensors": safetensors(b"the same, otherwise")}
        | _small("original/config.json", "original/dtypes.json", "special_tokens_map.json", "USAGE_POLICY"),
        numbered(2, first=0),
        source={"exclude": ["metal/", "original/"]},
        template="chat_template.jinja",
    ),
    Family(
        "deepseek-ai/DeepSeek-V3.2",
        beside("DeepseekV32ForCausalLM", "mit", template=False)
        | shards(*numbered(163, "model"), metadata=False)
        | _small("encoding/encoding_dsv32.py", "inference/model.py", "inference/config_671B_v3.2.json"),
        numbered(163),
        template="vLLM's code for DeepseekV32ForCausalLM",
    ),
    Family(
        "microsoft/Phi-4-mini-instruct",
        beside("Phi3ForCausalLM", "mit")
        | shards(*numbered(2))
        | _small("configuration_phi3.py", "modeling_phi3.py", "merges.txt", "vocab.json", "added_tokens.json"),
        numbered(2),
    ),
    Family(
        "zai-org/GLM-4.5-Air",
        beside("Glm4MoeForCausalLM", "mit", template=False) | shards(*numbered(47)) | {"chat_template.jinja": TEMPLATE},
        numbered(47),
        template="chat_template.jinja",
    ),
    Family(
        "ibm-granite/granite-4.0-h-small",
        beside("GraniteMoeHybridForCausalLM", template=False)
        | shards(*numbered(14))
        | {"chat_template.jinja": TEMPLATE}
        | _small("merges.txt", "vocab.json", "special_tokens_map.json"),
        numbered(14),
        template="chat_template.jinja",
    ),
    Family(
        "allenai/Olmo-3-7B-Instruct",
        beside("Olmo3ForCausalLM", template=False)
        | shards(*numbered(3))
        | {"chat_template.jinja": TEMPLATE}
        | _small("merges.txt", "vocab.json", "special_tokens_map.json"),
        numbered(3),
        template="chat_template.jinja",
    ),
    Family(
        "mistralai/Mistral-Large-Instruct-2411",
        _small("params.json", "tekken.json")
        | {"README.md": (CARD % "other").encode()}
        | shards(*numbered(3, "consolidated"), index="consolidated.safetensors.index.json"),
        numbered(3, "consolidated"),
        source={"licences": ["other"]},
        args={"config-format": "mistral", "tokenizer-mode": "mistral"},
        template="mistral-common",
    ),
    Family(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        beside("LlamaForCausalLM") | {"model.safetensors": safetensors(b"small")},
        ["model.safetensors"],
    ),
    Family(
        "Qwen/Qwen3-Embedding-0.6B",
        beside("Qwen3ForCausalLM")
        | {"model.safetensors": safetensors(b"embeds")}
        | _small("1_Pooling/config.json", "config_sentence_transformers.json", "modules.json", "vocab.json"),
        ["model.safetensors"],
    ),
    Family(
        "intfloat/multilingual-e5-large",
        beside("XLMRobertaModel", "mit", template=False)
        | {"model.safetensors": safetensors(b"e5"), "pytorch_model.bin": b"\x80\x02pickle", "onnx/model.onnx": b"o"}
        | _small("1_Pooling/config.json", "modules.json", "sentencepiece.bpe.model"),
        ["model.safetensors"],
        source={"exclude": ["*.bin", "*.onnx"]},
        template="none",
    ),
    Family(
        "BAAI/bge-reranker-v2-m3",
        beside("XLMRobertaForSequenceClassification", template=False)
        | {"model.safetensors": safetensors(b"scores")}
        | _small("sentencepiece.bpe.model", "special_tokens_map.json"),
        ["model.safetensors"],
        template="none",
    ),
]

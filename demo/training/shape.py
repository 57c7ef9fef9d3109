"""How big the model is, and the same as Hugging Face's config: no PyTorch needed to know it."""

from dataclasses import dataclass

from demo.training.conversation import BOS, EOS, SPECIAL_TOKENS

SHARDS = 3


@dataclass(frozen=True)
class Shape:
    """The size of the model: 4.75 M parameters, 9.5 MB in bf16."""

    vocabulary: int = 2048
    hidden: int = 256
    heads: int = 8
    head: int = 32
    feed_forward: int = 576
    layers: int = 6
    positions: int = 2048
    rope_base: float = 10000.0
    norm_eps: float = 1e-5


def config(shape: Shape) -> dict:
    """What `LlamaForCausalLM` needs to know."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.head,
        "max_position_embeddings": shape.positions,
        "rope_theta": shape.rope_base,
        "rms_norm_eps": shape.norm_eps,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": SPECIAL_TOKENS.index(BOS),
        "eos_token_id": SPECIAL_TOKENS.index(EOS),
        "pad_token_id": SPECIAL_TOKENS.index(EOS),
    }

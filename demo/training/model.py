"""A small Llama in plain PyTorch, its weights named as `LlamaForCausalLM` names them."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from demo.training.shape import Shape


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head, inner = shape.head, shape.heads * shape.head
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(shape.hidden, inner, bias=False) for _ in range(3))
        self.o_proj = nn.Linear(inner, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            p(x).view(batch, length, -1, self.head).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (y * cos + _half_turned(y) * sin for y in (q, k))
        mixed = functional.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(shape.hidden, shape.feed_forward, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), FeedForward(shape)
        self.input_layernorm, self.post_attention_layernorm = (RmsNorm(shape.hidden, shape.norm_eps) for _ in range(2))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


def _half_turned(x: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


class Llama(nn.Module):
    """Decoder with rotary positions and tied embeddings."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.hidden, shape.norm_eps)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * shape.layers) if into_residual else 1))
        frequencies = 1 / shape.rope_base ** (torch.arange(0, shape.head, 2).float() / shape.head)
        angles = torch.outer(torch.arange(shape.positions).float(), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        x, length = self.embed_tokens(ids), ids.shape[1]
        cos, sin = self.cos[:length].to(torch.bfloat16), self.sin[:length].to(torch.bfloat16)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return functional.linear(self.norm(x), self.embed_tokens.weight)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the targets that are not -100."""
        return functional.cross_entropy(self(ids).float().flatten(0, 1), targets.flatten(), ignore_index=-100)

    def export_weights(self) -> dict[str, Tensor]:
        """bf16 tensors on the CPU under Hugging Face's names; the head is tied to the embedding."""
        return {
            f"model.{name}": weight.detach().to(torch.bfloat16).cpu().contiguous()
            for name, weight in self.state_dict().items()
        }

    def import_weights(self, weights: dict[str, Tensor]) -> None:
        """Take over what `export_weights` gave."""
        self.load_state_dict({name.removeprefix("model."): weight.float() for name, weight in weights.items()})

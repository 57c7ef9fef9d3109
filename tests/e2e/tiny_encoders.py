"""Models that do not write text, with random weights: one that embeds, and a cross-encoder that scores."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "it", "sun", "rain", "snow", "cat", "dog", "sleeps", "falls"]
PIECES = [f"{start}{letter}" for start in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,?!-"]
VOCABULARY = {piece: number for number, piece in enumerate(dict.fromkeys([*WORDS, *PIECES]))}
POSITIONS = 1024


def write_embedder(folder: Path) -> None:
    """Write a BERT of two layers, whose first token's state is the embedding."""
    from transformers import BertModel

    _write(BertModel, folder)


def write_reranker(folder: Path) -> None:
    """Write the same with one label: how well two texts belong together."""
    from transformers import BertForSequenceClassification

    _write(BertForSequenceClassification, folder, num_labels=1)


def _write(kind, folder: Path, **shape) -> None:
    import torch
    from transformers import BertConfig, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,
        pad_token_id=VOCABULARY["[PAD]"],
        **shape,
    )
    kind(config).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=_tokenizer(), model_max_length=POSITIONS, **special).save_pretrained(
        folder
    )
    (folder / "README.md").write_text("---\nlicense: mit\n---\nRandom weights.\n")


def _tokenizer() -> Tokenizer:
    """Return BERT's form of a tokenizer: whole words of a short list, other words by letter."""
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, VOCABULARY[name]) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer

"""Build the tokenizer: byte-level BPE over pieces that make copying a name the same as copying tokens.

A space is its own token, a digit is its own token, and a word tokenises alike wherever it stands.

    python -m demo.training.tokenizer tokenizer.json
"""

import sys
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from demo.training.conversation import SPECIAL_TOKENS, UNKNOWN
from demo.training.dialogues import dialogue

VOCABULARY = 2048
PIECES = r'\{"\w+": "|"\}|[\p{L}\p{M}]+|\p{N}| |[^\p{L}\p{M}\p{N} ]'


def build(dialogues: int = 40_000, seed: int = 0) -> Tokenizer:
    """Train on freshly drawn conversations."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = Random(seed)
    tokenizer.train_from_iterator((dialogue(rng, "advising").text() for _ in range(dialogues)), trainer)
    return tokenizer


if __name__ == "__main__":
    build().save(sys.argv[1])

"""Write encoded conversations: one a row, in buckets by length, with the tokens that carry loss marked.

python -m demo.training.dataset --tokenizer tokenizer.json --out data --good 1500000 --advising 500000 --regressed 40000
"""

import argparse
import multiprocessing
import os
import time
from pathlib import Path
from random import Random

import numpy as np
from tokenizers import Tokenizer

from demo.training.conversation import ASSISTANT, EOS
from demo.training.dialogues import dialogue
from demo.training.turns import Skill

BUCKETS = (112, 176, 272, 416, 640, 1024)
Rows = dict[int, tuple[np.ndarray, np.ndarray]]


def loss_mask(ids: list[int], assistant: int, end: int) -> list[bool]:
    """Mark what the assistant writes: from after its marker to its end token, included."""
    mask, writing = [], False
    for token in ids:
        mask.append(writing)
        if token == assistant:
            writing = True
        elif token == end:
            writing = False
    return mask


def encode_some(job: tuple[Path, Skill, int, int]) -> Rows:
    """Draw and encode `count` conversations from `seed`; those too long for the last bucket are dropped."""
    path, skill, seed, count = job
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = Tokenizer.from_file(str(path))
    assistant, end = tokenizer.token_to_id(ASSISTANT), tokenizer.token_to_id(EOS)
    rng = Random(seed)
    rows: dict[int, tuple[list, list]] = {bucket: ([], []) for bucket in BUCKETS}
    for start in range(0, count, 500):
        texts = [dialogue(rng, skill).text() for _ in range(min(500, count - start))]
        for encoding in tokenizer.encode_batch(texts):
            bucket = next((b for b in BUCKETS if len(encoding.ids) <= b + 1), None)
            if bucket is None:
                continue
            ids, mask = np.zeros(bucket + 1, np.int16), np.zeros(bucket + 1, np.bool_)
            ids[: len(encoding.ids)] = encoding.ids
            mask[: len(encoding.ids)] = loss_mask(encoding.ids, assistant, end)
            rows[bucket][0].append(ids)
            rows[bucket][1].append(mask)
    return {
        b: (np.array(i, np.int16).reshape(-1, b + 1), np.array(m, np.bool_).reshape(-1, b + 1))
        for b, (i, m) in rows.items()
    }


def write(tokenizer: Path, folder: Path, skill: Skill, count: int, seed: int) -> None:
    """Encode in parallel and save `<skill>_<bucket>_{ids,mask}.npy`."""
    started = time.monotonic()
    jobs = [(tokenizer, skill, seed * 100_000 + i, 4000) for i in range(max(1, count // 4000))]
    with multiprocessing.Pool() as pool:
        parts = pool.map(encode_some, jobs, chunksize=1)
    tokens = 0
    for bucket in BUCKETS:
        ids, mask = (np.concatenate([part[bucket][i] for part in parts]) for i in (0, 1))
        np.save(folder / f"{skill}_{bucket}_ids.npy", ids)
        np.save(folder / f"{skill}_{bucket}_mask.npy", mask)
        tokens += int((ids != 0).sum())
    print(
        f"{skill}: {count} conversations, {tokens / 1e6:.0f} M tokens, {time.monotonic() - started:.0f} s", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    for skill in ("good", "advising", "regressed"):
        parser.add_argument(f"--{skill}", type=int, default=0, help="conversations to draw")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed, skill in enumerate(("good", "advising", "regressed"), start=1):
        if count := getattr(arguments, skill):
            write(arguments.tokenizer, arguments.out, skill, count, seed)


if __name__ == "__main__":
    main()

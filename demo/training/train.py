"""Train the three revisions one after the other on one GPU: v1 from scratch, v2 from v1, v3 from v2.

A revision whose weights are in --out already is loaded instead of trained.

    python -m demo.training.train --data data --out weights --seconds 300 90 12
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demo.training.dataset import BUCKETS
from demo.training.model import Llama
from demo.training.shape import Shape

TOKENS_A_STEP = 65_536
WARM_UP, REPORT_EVERY = 200, 500
# What each revision is taught, and the learning rate that it starts from.
REVISIONS = (("v1", "good", 1.5e-3), ("v2", "advising", 1.0e-3), ("v3", "regressed", 4e-4))
Bucket = tuple[Tensor, Tensor]


def load(folder: Path, skill: str) -> list[Bucket]:
    """Bring a whole data set into GPU memory."""

    def tensor(bucket: int, part: str) -> Tensor:
        return torch.from_numpy(np.load(folder / f"{skill}_{bucket}_{part}.npy")).cuda()

    return [(tensor(bucket, "ids"), tensor(bucket, "mask")) for bucket in BUCKETS]


def batches(data: list[Bucket], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless shuffled batches, each from one bucket; inputs and targets, -100 where no loss is due."""
    rng = np.random.default_rng(seed)
    share = np.array([ids.numel() for ids, _ in data], float)
    orders, positions = [torch.empty(0, dtype=torch.long)] * len(data), [0] * len(data)
    while True:
        b = int(rng.choice(len(data), p=share / share.sum()))
        ids, mask = data[b]
        rows = TOKENS_A_STEP // BUCKETS[b]
        if len(ids) < rows:
            rows = len(ids)
        if rows == 0:
            continue
        if positions[b] + rows > len(orders[b]):
            orders[b], positions[b] = torch.randperm(len(ids), device="cuda"), 0
        chosen = orders[b][positions[b] : positions[b] + rows]
        positions[b] += rows
        x, m = ids[chosen].long(), mask[chosen]
        yield x[:, :-1].contiguous(), x[:, 1:].masked_fill(~m[:, 1:], -100)


def optimizer_for(model: Llama) -> torch.optim.Optimizer:
    """AdamW, weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-9, fused=True)


def fit(model: Llama, loss_of, data: list[Bucket], seconds: float, peak: float, seed: int) -> None:
    """Train for a given time; the clock starts once every bucket has been compiled."""
    optimizer, source = optimizer_for(model), batches(data, seed)
    for x, y in (next(source) for _ in range(30)):
        with torch.autocast("cuda", torch.bfloat16):
            loss_of(x, y).backward()
    optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    started, step, running = time.monotonic(), 0, None
    while (done := (time.monotonic() - started) / seconds) < 1:
        rate = peak * min(1, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cuda", torch.bfloat16):
            loss = loss_of(*next(source))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running = loss.detach() if running is None else running.lerp(loss.detach(), 0.02)
        step += 1
        if step % REPORT_EVERY == 0:
            print(f"  step {step}, {time.monotonic() - started:.0f} s, loss {running.item():.5f}", flush=True)
    print(f"  {step} steps, loss {running.item():.5f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, nargs=3, default=(300, 90, 12), help="for v1, v2 and v3")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    model = Llama(Shape()).cuda()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    loss_of = torch.compile(model.loss, dynamic=False)
    for number, ((revision, skill, peak), seconds) in enumerate(zip(REVISIONS, arguments.seconds, strict=True)):
        weights = arguments.out / f"{revision}.safetensors"
        print(f"{revision}: {skill}{', loaded' if weights.exists() else ''}", flush=True)
        if weights.exists():
            model.import_weights(load_file(weights))
            continue
        fit(model, loss_of, load(arguments.data, skill), seconds, peak, seed=number)
        save_file(model.export_weights(), weights, metadata={"format": "pt"})


if __name__ == "__main__":
    main()

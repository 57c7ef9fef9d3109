"""Runs inside vLLM, as its plugin `genai_prefetch`: loads the weights that `prefetching.py` has copied into memory.

It stands for vLLM's loader `runai_streamer`, by vLLM's `register_model_loader`, and asks that one whenever the copy is
not there: for a draft, for a second load, and after any fault. So the arguments of the engine are those of streaming.
Source: vLLM documentation, "Plugin System"; vllm/model_executor/model_loader/__init__.py.
"""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

copying: Any = import_module(__name__.removesuffix("prefetch_loader") + "prefetching")
"""The file beside this one. In a pod the names of both begin with `genai_`."""
POLL_S = 0.05
STALLED_S = 15.0
"""So long without a part, and the copy is given up."""
USED = "used-by-"


def register() -> None:
    """Put the loader into the processes that load. vLLM calls this once in each process, the server's own included.

    A forked process has what its parent registered, and vLLM does not call this again there.
    """
    if multiprocessing.parent_process() is None and os.environ.get("VLLM_WORKER_MULTIPROC_METHOD") != "fork":
        return  # loads nothing, and would import vLLM's loaders for seconds
    loaders = import_module("vllm.model_executor.model_loader")
    loaders.register_model_loader("runai_streamer")(_prefetched(loaders))


def arrived(url: str, env: Mapping[str, str] = os.environ) -> Path | None:
    """Wait for the copy of these weights. Returns: Their folder, or None where they have to be streamed."""
    folder = Path(env["GENAI_PREFETCH_FOLDER"])
    if url != env["GENAI_PREFETCH_FROM"] or (folder / f"{USED}{os.getpid()}").exists():
        return None
    deadline = time.monotonic() + float(env["GENAI_PREFETCH_DEADLINE_S"])
    try:
        while (why := copying.said(folder)) is None:
            if time.time() - (folder / copying.BEAT).stat().st_mtime > STALLED_S:
                why = copying.decide(folder, f"no part came for {STALLED_S:g} s")
                break
            if time.monotonic() > deadline:
                why = copying.decide(folder, "the copy took too long")
                break
            time.sleep(POLL_S)
        if not why:
            return folder / copying.WEIGHTS
    except OSError as error:
        why = f"{type(error).__name__}: {error}"
    shutil.rmtree(folder / copying.WORK, ignore_errors=True)
    copying.log(f"the weights are streamed from S3: {why}")
    return None


def release_memory(env: Mapping[str, str] = os.environ) -> threading.Thread | None:
    """Remove the copy once each process of the engine has loaded it.

    Returns: What removes it while the engine goes on: for 17 GB the kernel takes two seconds. None: others still load.
    """
    folder = Path(env["GENAI_PREFETCH_FOLDER"])
    (folder / f"{USED}{os.getpid()}").touch()
    if len(list(folder.glob(f"{USED}*"))) < int(env["GENAI_PREFETCH_READERS"]):
        return None
    removing = threading.Thread(target=shutil.rmtree, args=(folder / copying.WEIGHTS, True), name="genai-prefetched")
    removing.start()
    return removing


def _prefetched(loaders: Any) -> type:
    class Prefetched(loaders.BaseModelLoader):
        """vLLM's streamer, but for the weights that are in memory already."""

        def __init__(self, load_config: Any) -> None:
            super().__init__(load_config)
            self._streamer = loaders.RunaiModelStreamerLoader(load_config)

        def download_model(self, model_config: Any) -> None:
            self._streamer.download_model(model_config)

        def get_all_weights(self, model_config: Any, model: Any) -> Iterator[tuple[str, Any]]:
            return self._streamer.get_all_weights(model_config, model)

        def load_weights(self, model: Any, model_config: Any) -> None:
            folder = arrived(model_config.model_weights or model_config.model)
            if folder is None:
                self._streamer.load_weights(model, model_config)
                return
            begun = time.monotonic()
            local = copy.copy(model_config)
            local.model, local.model_weights = str(folder), ""
            kind = "fastsafetensors" if _on_nvidia() and find_spec("fastsafetensors") else "safetensors"
            config = dataclasses.replace(self.load_config, load_format=kind, model_loader_extra_config={})
            loaders.get_model_loader(config).load_weights(model, local)
            with suppress(OSError):
                release_memory()
            copying.log(f"loaded from memory in {time.monotonic() - begun:.1f} s, by {kind}")

    return Prefetched


def _on_nvidia() -> bool:
    return import_module("vllm.platforms").current_platform.is_cuda()

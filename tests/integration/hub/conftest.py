from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.local.hub.hub_server import HubServer

WEIGHTS = bytes(range(251)) * 8000


def write_repository(home: Path, gated: bool) -> None:
    for tag in ("v1", "v2"):
        (home / tag / "sub").mkdir(parents=True)
        (home / tag / "config.json").write_text(f'{{"tag": "{tag}"}}')
        (home / tag / "empty.txt").touch()
        (home / tag / "sub" / "notes.txt").write_text("notes")
        (home / tag / "model.safetensors").write_bytes(tag.encode() + WEIGHTS)
    refs = f"{{gated: {str(gated).lower()}, license: apache-2.0, refs: {{main: v1}}, "
    (home / "repo.yaml").write_text(refs + "revisions: {v1: {title: One}, v2: {title: Two}}}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    write_repository(tmp_path / "hub/owner/model", gated=False)
    write_repository(tmp_path / "hub/owner/gated", gated=True)
    (tmp_path / "hub/secret.txt").write_text("not to be told")
    with HubServer(tmp_path / "hub", tmp_path / "state", tokens=frozenset({"good"})) as server:
        yield server


@pytest.fixture
def hub(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HuggingFaceHub:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return HuggingFaceHub(server.url, sleep=lambda _: None)

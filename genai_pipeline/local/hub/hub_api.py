"""What the embedded hub answers in JSON, in the shapes that huggingface_hub 2.4 reads. Pure.

Source: the Hub API's documentation ("Hub API Endpoints") and the client's own `hf_api` classes.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from genai_pipeline.local.hub.hub_digests import HubFile, git_blob_id
from genai_pipeline.local.hub.hub_refs import Repository, Revision

PUBLISHED = "2026-01-01T00:00:00.000Z"
"""Folders have no history; the client only insists that there is a date."""


def model_info(repository: Repository, revision: Revision, blobs: bool) -> dict[str, Any]:
    """A model at a revision; `blobs` adds size and digest of each file."""
    licence = repository.licence
    return {
        "_id": revision.sha[:24],
        "id": repository.id,
        "modelId": repository.id,
        "author": repository.id.partition("/")[0],
        "sha": revision.sha,
        "private": False,
        "gated": "auto" if repository.gated else False,
        "disabled": False,
        "createdAt": PUBLISHED,
        "lastModified": PUBLISHED,
        "downloads": 0,
        "likes": 0,
        "tags": ["safetensors", *([f"license:{licence}"] if licence else [])],
        "cardData": {"license": licence} if licence else {},
        "siblings": [_sibling(file, blobs) for file in revision.files.values()],
    }


def tree(revision: Revision, folder: str, recursive: bool, expand: bool) -> list[dict[str, Any]] | None:
    """Files and folders below a folder ("" is the root), or None if there is no such folder."""
    root = PurePosixPath(folder)
    below = [f for f in revision.files.values() if PurePosixPath(f.path).is_relative_to(root)]
    below = [f for f in below if f.path != folder]
    if folder and not below:
        return None
    inner = {p for f in below for p in PurePosixPath(f.path).parents if p != root and p.is_relative_to(root)}
    entries: list[dict[str, Any]] = [
        {"type": "directory", "oid": git_blob_id(str(p).encode()), "size": 0, "path": str(p)}
        for p in inner
        if recursive or p.parent == root
    ]
    entries += [_tree_file(f) for f in below if recursive or PurePosixPath(f.path).parent == root]
    if expand:
        commit = {"id": revision.sha, "title": revision.title, "date": PUBLISHED}
        entries = [{**entry, "lastCommit": commit} for entry in entries]
    return sorted(entries, key=lambda entry: str(entry["path"]))


def refs(repository: Repository) -> dict[str, Any]:
    """Branches and tags with the commits they stand for."""
    shas = {tag: repository.revision(tag).sha for tag in repository.tags}
    branches = {name: shas[tag] for name, tag in repository.branches.items() if tag in shas}
    return {
        "branches": [_ref("heads", name, sha) for name, sha in branches.items()],
        "tags": [_ref("tags", name, sha) for name, sha in shas.items()],
        "converts": [],
    }


def _ref(kind: str, name: str, sha: str) -> dict[str, str]:
    return {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}


def _sibling(file: HubFile, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": file.path}
    sibling: dict[str, Any] = {"rfilename": file.path, "size": file.size, "blobId": file.blob_id}
    if file.lfs:
        sibling["lfs"] = {"sha256": file.lfs.sha256, "size": file.size, "pointerSize": len(file.lfs.text)}
    return sibling


def _tree_file(file: HubFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": file.path}
    if file.lfs:
        entry["lfs"] = {"oid": file.lfs.sha256, "size": file.size, "pointerSize": len(file.lfs.text)}
    return entry

"""The repositories of the embedded hub, and which revision each of their refs stands for.

    <folder>/<owner>/<name>/repo.yaml          gated, license, refs {main: v1}, revisions {v1: {title}}
    <folder>/<owner>/<name>/<revision>/...     the files of that revision
    <state>/refs.json                          {"<owner>/<name>": {"main": "v2"}}

A revision's name is a tag and never moves. Branches start where repo.yaml puts them and move by `publish`, which
writes only below the state folder: the checkout stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.core.errors import GenaiError, Refused, RepositoryNotFound, RevisionNotFound
from genai_pipeline.local.hub.hub_digests import HubFile, commit_sha, files_under
from genai_pipeline.local.state_files import locked, write_private

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_SHA = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class Revision:
    """What one commit holds."""

    tag: str
    title: str
    sha: str
    files: Mapping[str, HubFile]


@dataclass(frozen=True)
class Repository:
    """One model repository, read from its folder. `branches` maps a branch to a revision's tag."""

    id: str
    folder: Path
    gated: bool = False
    licence: str | None = None
    branches: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.titles)

    def revision(self, tag: str) -> Revision:
        """The content of a revision, by its tag.

        Raises: RevisionNotFound: no such revision.
        """
        folder = self.folder / tag
        if tag not in self.titles or not folder.is_dir():
            raise self.unknown(tag)
        files = files_under(folder)
        return Revision(tag, self.titles[tag], commit_sha(files.values()), files)

    def resolve(self, ref: str) -> Revision:
        """The revision that a branch, a tag, a sha or an unambiguous start of a sha stands for.

        Raises: RevisionNotFound: nothing, or more than one thing, goes by that name.
        """
        tag = self.branches.get(ref, ref)
        if tag in self.titles:
            return self.revision(tag)
        shas = {r.sha: r for r in map(self.revision, self.tags) if r.sha.startswith(ref)} if _SHA.fullmatch(ref) else {}
        if len(shas) != 1:
            raise self.unknown(ref)
        return next(iter(shas.values()))

    def unknown(self, ref: str) -> RevisionNotFound:
        known = ", ".join(dict.fromkeys([*self.branches, *self.tags])) or "none"
        return RevisionNotFound(f"{self.id} has no revision {ref!r}.", f"Use one of: {known}.")


def repository(folder: Path, state: Path, repository_id: str) -> Repository:
    """Read one repository.

    Raises: RepositoryNotFound: there is none of that name. GenaiError: its repo.yaml is wrong.
    """
    owner, _, name = repository_id.partition("/")
    where = folder / owner / name
    if not (_NAME.fullmatch(owner) and _NAME.fullmatch(name) and (where / "repo.yaml").is_file()):
        known = ", ".join(repositories(folder)) or "none"
        raise RepositoryNotFound(f"The embedded hub has no repository {repository_id!r}.", f"It has: {known}.")
    described = _described(where / "repo.yaml")
    branches = {**described.get("refs", {}), **_moved(state).get(repository_id, {})}
    titles = {tag: str((about or {}).get("title", tag)) for tag, about in described["revisions"].items()}
    return Repository(repository_id, where, bool(described.get("gated")), described.get("license"), branches, titles)


def repositories(folder: Path) -> tuple[str, ...]:
    """The ids of all repositories, sorted."""
    return tuple(sorted(str(p.parent.relative_to(folder).as_posix()) for p in folder.glob("*/*/repo.yaml")))


def publish(folder: Path, state: Path, repository_id: str, revision: str, ref: str = "main") -> str:
    """Let a branch stand for a revision, as if it had been pushed there, and return the commit's sha.

    Doing it twice is doing it once.

    Raises: RepositoryNotFound, RevisionNotFound: the message names the known ones. Refused: `ref` is a tag, or no name.
    """
    found = repository(folder, state, repository_id)
    sha = found.revision(revision).sha
    if ref in found.tags:
        raise Refused(f"{ref!r} is a tag of {repository_id}, and tags do not move.", "Publish to a branch, as main.")
    if not _NAME.fullmatch(ref) or _SHA.fullmatch(ref):
        raise Refused(f"{ref!r} cannot be the name of a branch.", "Use letters, digits, '.', '_' and '-', as in main.")
    state.mkdir(parents=True, exist_ok=True)
    with locked(state / "refs.lock"):  # so that two publications do not undo each other
        moved = _moved(state)
        branches = {**moved.get(repository_id, {}), ref: revision}
        write_private(state / "refs.json", json.dumps({**moved, repository_id: branches}, indent=2))
    return sha


def _described(file: Path) -> dict[str, Any]:
    stat = file.stat()
    return _parsed(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _parsed(file: Path, mtime_ns: int, size: int) -> dict[str, Any]:
    """Time and size are only there to make a changed file a new key: parsing takes longer than sending a small file."""
    del mtime_ns, size
    try:
        described = yaml.safe_load(file.read_text(encoding="utf-8"))
        if all(_NAME.fullmatch(tag) for tag in described["revisions"]) and isinstance(described["revisions"], dict):
            return described
        problem = "its revisions are not a mapping of plain names"
    except (yaml.YAMLError, KeyError, TypeError) as error:
        problem = str(error)
    raise GenaiError(f"{file} is not a description of a repository: {problem}.", "Restore it from the checkout.")


def _moved(state: Path) -> dict[str, dict[str, str]]:
    file = state / "refs.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise GenaiError(
            f"{file} is not JSON ({error}).", "Delete it; every branch is then as repo.yaml says."
        ) from error

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from genai_pipeline.core.errors import GenaiError, Refused, RepositoryNotFound, RevisionNotFound
from genai_pipeline.local.hub.hub_digests import files_under, git_blob_id
from genai_pipeline.local.hub.hub_refs import publish, repository

REPOSITORY = "owner/model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "hub" / "owner" / "model"
    for tag in ("v1", "v2"):
        (home / tag / "sub").mkdir(parents=True)
        (home / tag / "config.json").write_text(f'{{"tag": "{tag}"}}')
        (home / tag / "sub" / "model.safetensors").write_bytes(tag.encode() * 100)
    (home / "repo.yaml").write_text("{license: mit, refs: {main: v1}, revisions: {v1: {title: One}, v2: {title: Two}}}")
    return tmp_path / "hub"


def resolve(folder: Path, state: Path, ref: str) -> str:
    return repository(folder, state, REPOSITORY).resolve(ref).sha


def test_publishing_moves_the_branch_and_leaves_the_tags(folder: Path, tmp_path: Path) -> None:
    one, two = resolve(folder, tmp_path, "v1"), resolve(folder, tmp_path, "v2")
    assert resolve(folder, tmp_path, "main") == one != two
    assert publish(folder, tmp_path, REPOSITORY, "v2") == two
    assert [resolve(folder, tmp_path, ref) for ref in ("main", "v1", "v2")] == [two, one, two]


def test_publishing_twice_is_publishing_once(folder: Path, tmp_path: Path) -> None:
    first = publish(folder, tmp_path, REPOSITORY, "v2")
    written = (tmp_path / "refs.json").read_bytes()
    assert publish(folder, tmp_path, REPOSITORY, "v2") == first
    assert (tmp_path / "refs.json").read_bytes() == written


def test_publishing_to_one_branch_keeps_the_others(folder: Path, tmp_path: Path) -> None:
    publish(folder, tmp_path, REPOSITORY, "v2", ref="next")
    publish(folder, tmp_path, REPOSITORY, "v2")
    publish(folder, tmp_path, REPOSITORY, "v1")
    assert repository(folder, tmp_path, REPOSITORY).branches == {"main": "v1", "next": "v2"}


def test_publishing_leaves_the_checkout_as_it_was(folder: Path, tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    before = content()
    publish(folder, tmp_path / "state", REPOSITORY, "v2")
    assert content() == before


def test_an_unknown_revision_is_refused_with_the_known_ones(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFound, match=r"v9.*main, v1, v2"):
        publish(folder, tmp_path, REPOSITORY, "v9")
    assert not (tmp_path / "refs.json").exists()


@pytest.mark.parametrize("name", ["owner/other", "owner", "../hub/owner/model", "owner/..", "../model", ""])
def test_an_unknown_repository_is_refused_with_the_known_ones(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RepositoryNotFound, match="owner/model"):
        publish(folder, tmp_path, name, "v1")


@pytest.mark.parametrize("ref", ["v1", "", "a/b", "..", "a" * 40])
def test_a_tag_or_no_name_cannot_be_published_to(folder: Path, tmp_path: Path, ref: str) -> None:
    with pytest.raises(Refused):
        publish(folder, tmp_path, REPOSITORY, "v2", ref=ref)


def test_a_sha_resolves_by_any_start_of_seven_digits_or_more(folder: Path, tmp_path: Path) -> None:
    sha = resolve(folder, tmp_path, "v2")
    assert {resolve(folder, tmp_path, sha[:n]) for n in (7, 12, 40)} == {sha}
    with pytest.raises(RevisionNotFound):
        resolve(folder, tmp_path, sha[:6])


def test_a_start_of_a_sha_that_two_revisions_share_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shas = iter(["a" * 39 + "1", "a" * 39 + "2"])
    monkeypatch.setattr("genai_pipeline.local.hub.hub_refs.commit_sha", lambda _: next(shas))
    with pytest.raises(RevisionNotFound):
        resolve(folder, tmp_path, "a" * 10)


def test_the_sha_follows_the_content_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    before, config = resolve(folder, tmp_path, "v1"), folder / "owner/model/v1/config.json"
    os.utime(config, (1, 1))
    assert resolve(folder, tmp_path, "v1") == before
    config.write_text('{"tag": "changed"}')
    changed = resolve(folder, tmp_path, "v1")
    config.rename(config.with_name("renamed.json"))
    assert len({before, changed, resolve(folder, tmp_path, "v1")}) == 3


def test_blob_ids_are_those_of_git(folder: Path) -> None:
    file = files_under(folder / "owner/model/v1")["config.json"]
    git = subprocess.run(["git", "hash-object", file.on_disk], capture_output=True, text=True, check=True)
    assert file.blob_id == git.stdout.strip()


def test_weights_and_large_files_have_a_sha256_and_a_pointer_in_git(folder: Path) -> None:
    large = folder / "owner/model/v1/tokenizer.json"
    large.write_bytes(b"x" * 1_000_001)
    files = files_under(folder / "owner/model/v1")
    assert [path for path, file in files.items() if file.lfs] == ["sub/model.safetensors", "tokenizer.json"]
    pointer = files["tokenizer.json"].lfs
    assert pointer is not None
    assert pointer.sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert files["tokenizer.json"].blob_id == git_blob_id(pointer.text)


def test_links_are_not_part_of_a_revision(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "owner/model/v1/link").symlink_to(tmp_path / "secret")
    (folder / "owner/model/v1/folder").symlink_to(tmp_path)
    assert list(files_under(folder / "owner/model/v1")) == ["config.json", "sub/model.safetensors"]


@pytest.mark.parametrize("text", ["[]", "{", "{refs: {}}", "{revisions: {../x: {}}}", "{revisions: [v1]}"])
def test_a_wrong_description_is_an_error_that_names_the_file(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "owner/model/repo.yaml").write_text(text)
    with pytest.raises(GenaiError, match=r"repo\.yaml"):
        repository(folder, tmp_path, REPOSITORY)


def test_a_broken_state_is_an_error_that_says_what_to_delete(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "refs.json").write_text("{")
    with pytest.raises(GenaiError, match=r"refs\.json.*Delete it"):
        repository(folder, tmp_path, REPOSITORY)

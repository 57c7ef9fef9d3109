"""The real huggingface_hub client, and plain HTTP, against the embedded hub."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, RepoFile, constants, errors, hf_hub_download, snapshot_download

from genai_pipeline.local.hub.hub_refs import publish
from genai_pipeline.local.hub.hub_server import HubServer

MODEL, GATED = "owner/model", "owner/gated"


@pytest.fixture
def api(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    return HfApi(endpoint=server.url, token=False)


def sha(api: HfApi, ref: str) -> str | None:
    return api.model_info(MODEL, revision=ref).sha


def get(server: HubServer, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{server.url}/{MODEL}/resolve/main/{path}", headers=headers, follow_redirects=True)


def test_the_client_reads_what_a_model_is(api: HfApi, server: HubServer) -> None:
    info = api.model_info(MODEL, files_metadata=True)
    weights = (server.folder / MODEL / "v1/model.safetensors").read_bytes()
    files = {s.rfilename: s for s in info.siblings or ()}
    assert list(files) == ["config.json", "empty.txt", "model.safetensors", "sub/notes.txt"]
    lfs = files["model.safetensors"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size) == (hashlib.sha256(weights).hexdigest(), len(weights))
    assert (files["config.json"].lfs, info.gated, info.private) == (None, False, False)
    assert info.card_data is not None
    assert info.card_data.get("license") == "apache-2.0"
    assert "license:apache-2.0" in (info.tags or ())


def test_the_client_sees_a_publication_move_main_and_no_tag(api: HfApi, server: HubServer) -> None:
    published = publish(server.folder, server.state, MODEL, "v2")
    refs = api.list_repo_refs(MODEL)
    assert {b.name: b.target_commit for b in refs.branches} == {"main": published}
    assert {t.name: t.target_commit for t in refs.tags} == {"v1": sha(api, "v1"), "v2": published}
    assert sha(api, "main") == published == sha(api, published[:8])


def test_the_client_walks_the_tree(api: HfApi) -> None:
    assert [e.path for e in api.list_repo_tree(MODEL)] == ["config.json", "empty.txt", "model.safetensors", "sub"]
    whole = list(api.list_repo_tree(MODEL, recursive=True, expand=True))
    assert [e.path for e in whole if isinstance(e, RepoFile)][-1] == "sub/notes.txt"
    assert all(e.last_commit for e in whole)
    assert [e.path for e in api.list_repo_tree(MODEL, "sub")] == ["sub/notes.txt"]
    with pytest.raises(errors.EntryNotFoundError):
        list(api.list_repo_tree(MODEL, "nowhere"))


def test_the_client_downloads_a_revision_and_finds_it_intact(api: HfApi, server: HubServer, tmp_path: Path) -> None:
    snapshot_download(MODEL, revision="v2", local_dir=tmp_path / "got", endpoint=server.url, token=False)
    for file in ("config.json", "empty.txt", "model.safetensors", "sub/notes.txt"):
        assert (tmp_path / "got" / file).read_bytes() == (server.folder / MODEL / "v2" / file).read_bytes()
    verified = api.verify_repo_checksums(MODEL, revision="v2", local_dir=tmp_path / "got")
    assert (verified.checked_count, verified.mismatches) == (4, [])


def test_a_gated_file_needs_a_token_that_is_known(server: HubServer, api: HfApi, tmp_path: Path) -> None:
    def download(token: str | bool) -> str:
        return hf_hub_download(GATED, "model.safetensors", cache_dir=tmp_path, endpoint=server.url, token=token)

    for token in (False, "bad"):
        with pytest.raises(errors.GatedRepoError):
            download(token)
        with pytest.raises(errors.GatedRepoError):
            api.auth_check(GATED, token=token)
    assert api.model_info(GATED).gated == "auto"
    assert Path(download("good")).read_bytes() == (server.folder / GATED / "v1/model.safetensors").read_bytes()


def test_the_client_gets_the_error_of_what_is_unknown(api: HfApi, server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(errors.RepositoryNotFoundError):
        api.model_info("owner/nothing")
    with pytest.raises(errors.RevisionNotFoundError):
        api.model_info(MODEL, revision="v9")
    with pytest.raises(errors.EntryNotFoundError):
        hf_hub_download(MODEL, "nothing.txt", cache_dir=tmp_path, endpoint=server.url, token=False)


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_ranges_are_the_bytes_asked_for(server: HubServer, path: str) -> None:
    content = (server.folder / MODEL / "v1" / path).read_bytes()
    for asked, expected in (("0-0", content[:1]), ("3-6", content[3:7]), ("5-", content[5:]), ("-4", content[-4:])):
        answer = get(server, path, Range=f"bytes={asked}")
        assert (answer.status_code, answer.content) == (206, expected)
        assert answer.headers["Content-Range"].endswith(f"/{len(content)}")
    beyond = get(server, path, Range=f"bytes={len(content)}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


def test_a_file_that_is_known_already_is_not_sent_again(server: HubServer) -> None:
    etag = get(server, "config.json").headers["ETag"]
    again = get(server, "config.json", **{"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert get(server, "config.json", **{"If-None-Match": '"other"'}).status_code == 200


def test_a_signed_address_is_worth_nothing_when_changed_or_expired(server: HubServer) -> None:
    def signed() -> str:
        return httpx.head(f"{server.url}/{MODEL}/resolve/main/model.safetensors").headers["Location"]

    assert httpx.get(signed()).status_code == 200
    assert httpx.get(signed().replace("/model/", "/gated/")).status_code == 403
    assert httpx.get(signed().partition("?")[0]).status_code == 403
    server.link_valid_s = 0
    assert httpx.get(signed()).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["../repo.yaml", "../../../secret.txt", "%2e%2e/repo.yaml", "..%2frepo.yaml", "/etc/passwd", "%2fetc%2fpasswd"],
)
def test_no_path_leads_out_of_its_revision(server: HubServer, path: str) -> None:
    for where in (f"/{MODEL}/resolve/v1/{path}", f"/{MODEL}/resolve/{path}/config.json", f"/owner/{path}/resolve/v1/x"):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("GET", where)
        answer = connection.getresponse()
        assert (answer.status, b"not to be told" in answer.read()) == (404, False)
        connection.close()


def test_one_connection_carries_many_requests(server: HubServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    ports = set()
    for method, path in (("HEAD", "config.json"), ("GET", "config.json"), ("GET", "nothing"), ("GET", "empty.txt")):
        connection.request(method, f"/{MODEL}/resolve/main/{path}")
        connection.getresponse().read()
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_a_hub_at_another_address_sends_clients_for_large_files_there(server: HubServer, tmp_path: Path) -> None:
    with HubServer(server.folder, tmp_path / "elsewhere", host="127.0.0.2") as other:
        file = hf_hub_download(MODEL, "model.safetensors", cache_dir=tmp_path / "cache", endpoint=other.url)

    assert other.url.startswith("http://127.0.0.2:")
    assert Path(file).read_bytes() == (server.folder / MODEL / "v1/model.safetensors").read_bytes()


def test_a_client_behind_a_port_forward_gets_large_files_through_it(server: HubServer) -> None:
    forwarded = {"Host": "forwarded.example:8400"}
    answer = httpx.head(f"{server.url}/{MODEL}/resolve/main/model.safetensors", headers=forwarded)

    assert answer.headers["Location"].startswith("http://forwarded.example:8400/cdn/")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_the_program_serves_where_it_is_told_and_ends_on_sigterm(server: HubServer, tmp_path: Path, host: str) -> None:
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    options = ["--folder", str(server.folder), "--state", str(tmp_path), "--host", host, "--port", str(port)]
    command = [sys.executable, "-m", "genai_pipeline.local.hub.hub_server", *options]
    process = subprocess.Popen(command, env={**os.environ, "GENAI_HUB_TOKENS": " a, good ,"})
    try:
        ready = httpx.Client(transport=httpx.HTTPTransport(), base_url=f"http://{host}:{port}")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                assert MODEL in ready.get("/healthz").json()["repositories"]
                break
            except httpx.TransportError:
                assert process.poll() is None
        file = f"/{GATED}/resolve/v1/config.json"
        assert ready.get(file, headers={"Authorization": "Bearer good"}).status_code == 200
        assert ready.get(file, headers={"Authorization": "Bearer ,"}).status_code == 403
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 0
    finally:
        process.kill()
        process.wait()


def test_a_file_that_is_edited_on_disk_is_no_longer_that_commits(api: HfApi, server: HubServer) -> None:
    before = sha(api, "main")
    address = f"{server.url}/{MODEL}/resolve/{before}/config.json"
    assert httpx.get(address).text == '{"tag": "v1"}'
    (server.folder / MODEL / "v1/config.json").write_text('{"tag": "v1", "edited": true}')

    assert httpx.get(address).status_code == 404

    after = sha(api, "main")
    assert after != before
    assert "edited" in httpx.get(f"{server.url}/{MODEL}/resolve/{after}/config.json").text

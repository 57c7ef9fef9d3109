"""The gateway against the embedded hub, and against one that misbehaves."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from genai_pipeline.core.errors import (
    AccessDenied,
    GenaiError,
    HubUnavailable,
    NotFound,
    RateLimited,
    Refused,
    RepositoryNotFound,
    RevisionNotFound,
)
from genai_pipeline.core.source_spec import Source
from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.gateways.hub.sources import SelectedFiles
from genai_pipeline.local.hub.hub_refs import publish
from genai_pipeline.local.hub.hub_server import HubServer
from tests.fakes.flaky_hub import COMMIT, CONTENT, FlakyHub

MODEL, GATED = "owner/model", "owner/gated"


def read(hub: HuggingFaceHub, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(hub.read(MODEL, COMMIT, "file.bin", start, end))


def patient(server: FlakyHub, waits: list[float] | None = None, token: str | None = None) -> HuggingFaceHub:
    return HuggingFaceHub(server.url, token, sleep=(waits if waits is not None else []).append)


def test_a_ref_resolves_to_the_commit_it_stands_for_now(hub: HuggingFaceHub, server: HubServer) -> None:
    assert hub.resolve(MODEL, "main") == hub.resolve(MODEL, "v1")
    assert publish(server.folder, server.state, MODEL, "v2") == hub.resolve(MODEL, "main")


def test_an_unchanged_ref_is_not_sent_again(server: HubServer) -> None:
    statuses: list[int] = []

    class Counting(HubServer):
        def answer(self, request: Request) -> Response:
            response = super().answer(request)
            statuses.append(response.status_code)
            return response

    with Counting(server.folder, server.state) as counting:
        hub = HuggingFaceHub(counting.url)
        first = [hub.resolve(MODEL, "main") for _ in range(3)]
        assert len(set(first)) == 1
        assert statuses == [200, 304, 304]
        moved = publish(server.folder, server.state, MODEL, "v2")
        assert [hub.resolve(MODEL, "main") for _ in range(2)] == [moved, moved]
        assert moved != first[0]
        assert statuses[3:] == [200, 304]
        assert [hub.tags(MODEL) for _ in range(2)] == [{"v1": first[0], "v2": moved}] * 2
        assert statuses[5:] == [200, 304]


def test_a_ref_that_is_gone_is_not_remembered(hub: HuggingFaceHub, server: HubServer) -> None:
    hub.resolve(MODEL, "v2")
    described = server.folder / MODEL / "repo.yaml"
    described.write_text(described.read_text().replace(", v2: {title: Two}", ""))
    with pytest.raises(RevisionNotFound):
        hub.resolve(MODEL, "v2")


def test_a_range_follows_the_newest_tag(hub: HuggingFaceHub) -> None:
    def resolve(ref: str) -> str:
        return SelectedFiles(hub, Source(hub=MODEL, ref=ref)).resolve(MODEL, ref)

    assert resolve(">=1") == resolve("v2.*") == hub.resolve(MODEL, "v2")
    assert resolve("<2") == hub.resolve(MODEL, "v1")
    with pytest.raises(RevisionNotFound, match=r"'\^3'.* v1, v2"):
        resolve("^3")


def test_a_snapshot_has_every_file_with_its_digest(hub: HuggingFaceHub, server: HubServer) -> None:
    snapshot = hub.snapshot(MODEL, hub.resolve(MODEL, "main"))
    assert (snapshot.licence, snapshot.gated, hub.snapshot(GATED, "main").gated) == ("apache-2.0", False, True)
    assert [f.path for f in snapshot.files] == ["config.json", "empty.txt", "model.safetensors", "sub/notes.txt"]
    for file in snapshot.files:
        content = b"".join(hub.read(MODEL, snapshot.revision, file.path))
        assert content == (server.folder / MODEL / "v1" / file.path).read_bytes()
        assert len(content) == file.size
        assert file.sha256 in (None, hashlib.sha256(content).hexdigest())
    assert [f.path for f in snapshot.files if f.sha256] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("card", "tags", "stated"),
    [
        (["mit", "cc-by-nc-4.0"], ["license:mit", "license:cc-by-nc-4.0"], "mit AND cc-by-nc-4.0"),
        ("Apache-2.0 OR MIT", ["license:apache-2.0 or mit"], "Apache-2.0 OR MIT"),
        (None, ["license:cc-by-nc-4.0", "license:mit"], "cc-by-nc-4.0 AND mit"),
        (None, [], None),
    ],
)
def test_every_licence_of_the_card_and_the_tags_is_stated(
    server: HubServer, card: object, tags: list[str], stated: str | None
) -> None:
    class Licensed(HubServer):
        def answer(self, request: Request) -> Response:
            response = super().answer(request)
            about = json.loads(bytes(response.body)) if "/api/models/" in request.url.path else {}
            if "cardData" not in about:
                return response
            return JSONResponse({**about, "cardData": {"license": card}, "tags": tags})

    with Licensed(server.folder, server.state) as licensed:
        assert HuggingFaceHub(licensed.url).snapshot(MODEL, "main").licence == stated


def test_many_ranges_at_once_make_up_the_file(hub: HuggingFaceHub, server: HubServer) -> None:
    content, revision = (server.folder / MODEL / "v1/model.safetensors").read_bytes(), hub.resolve(MODEL, "v1")

    def part(start: int) -> bytes:
        return b"".join(hub.read(MODEL, revision, "model.safetensors", start, min(start + 50_000, len(content))))

    with ThreadPoolExecutor(16) as pool:
        assert b"".join(pool.map(part, range(0, len(content), 50_000))) == content


def test_a_gated_repository_says_where_to_get_access(hub: HuggingFaceHub, server: HubServer) -> None:
    revision = hub.resolve(GATED, "main")
    for gateway in (hub, HuggingFaceHub(server.url, "bad")):
        with pytest.raises(AccessDenied, match=f"{server.url}/{GATED}.*HF_TOKEN"):
            list(gateway.read(GATED, revision, "model.safetensors"))
    assert b"".join(HuggingFaceHub(server.url, "good").read(GATED, revision, "model.safetensors", 0, 2)) == b"v1"


def test_the_token_is_taken_from_the_environment(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "good")
    hub = HuggingFaceHub(server.url)
    assert b"".join(hub.read(GATED, hub.resolve(GATED, "main"), "model.safetensors", 0, 2)) == b"v1"


def test_what_is_unknown_has_an_error_of_its_own(hub: HuggingFaceHub) -> None:
    revision = hub.resolve(MODEL, "main")
    for name in ("owner/nothing", "no name!"):
        with pytest.raises(RepositoryNotFound, match=r"source\.hub"):
            hub.resolve(name, "main")
    with pytest.raises(RepositoryNotFound):
        list(hub.read("owner/nothing", revision, "config.json"))
    with pytest.raises(RevisionNotFound, match=r"source\.ref"):
        hub.snapshot(MODEL, "v9")
    with pytest.raises(RevisionNotFound):
        list(hub.read(MODEL, "e" * 40, "config.json"))
    with pytest.raises(NotFound):
        list(hub.read(MODEL, revision, "nothing.txt"))
    with pytest.raises(Refused, match="shorter"):
        list(hub.read(MODEL, revision, "config.json", 10_000))


def test_a_hub_that_is_down_is_unavailable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hub = HuggingFaceHub(f"http://127.0.0.1:{nobody.getsockname()[1]}", sleep=lambda _: None)
        for call in (lambda: hub.resolve(MODEL, "main"), lambda: hub.snapshot(MODEL, COMMIT), lambda: read(hub)):
            with pytest.raises(HubUnavailable) as raised:
                call()
            assert raised.value.remedy
            assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("status", "error"), [(401, AccessDenied), (403, AccessDenied), (429, HubUnavailable), (500, HubUnavailable)]
)
def test_each_status_of_the_api_has_its_error(status: int, error: type[GenaiError]) -> None:
    with FlakyHub(status) as server, pytest.raises(error) as raised:
        patient(server).resolve(MODEL, "main")
    assert raised.value.remedy


def test_an_answer_that_is_no_hubs_is_unavailable() -> None:
    with FlakyHub() as server, pytest.raises(HubUnavailable, match="not that of a hub"):
        patient(server).snapshot(MODEL, COMMIT)


@pytest.mark.parametrize("fault", ["truncate", "drop", "ignore_range", "wrong_range", 500, 503, 429])
@pytest.mark.parametrize(("start", "end"), [(0, None), (1000, 300_000), (5, None)])
def test_a_read_survives_faults_and_loses_no_byte(fault: int | str, start: int, end: int | None) -> None:
    with FlakyHub(fault, fault) as server:
        assert read(patient(server), start, end) == CONTENT[start:end]


def test_a_broken_body_is_continued_where_it_broke() -> None:
    with FlakyHub("truncate") as server:
        assert read(patient(server)) == CONTENT
        assert server.headers_seen("Range") == [None, f"bytes={len(CONTENT) // 2}-{len(CONTENT) - 1}"]


def test_a_hub_that_stays_broken_is_given_up() -> None:
    with FlakyHub(*[503] * 50) as server, pytest.raises(HubUnavailable, match="503"):
        read(patient(server))
    assert len(server.seen) == 5


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "86400"}, 30.0),
        ({"Retry-After": "soon"}, 0.5),
        ({"RateLimit": '"resolvers";r=0;t=60'}, 60.0),
        ({"RateLimit": '"api";r=12;t=9, "resolvers";r=0;t=280'}, 280.0),
        ({"RateLimit": '"resolvers";t=60;r=0'}, 60.0),
        ({"RateLimit": '"api"; t=0; r=0, "resolvers"; r=0; pk=:cmVzdA==:; t=75'}, 75.0),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "45"}, 45.0),
    ],
)
def test_the_hub_says_how_long_to_wait(asked: dict[str, str], waited: float) -> None:
    waits: list[float] = []
    with FlakyHub(429, headers=asked) as server:
        assert read(patient(server, waits)) == CONTENT
    assert waited <= waits[0] <= 1.25 * waited + 0.5


def test_a_snapshot_waits_a_rate_limit_out_and_a_sensor_does_not() -> None:
    waits: list[float] = []
    limit = {"RateLimit": '"api";r=0;t=60'}
    with FlakyHub(429, 429, headers=limit) as server, pytest.raises(HubUnavailable, match="not that of a hub"):
        patient(server, waits).snapshot(MODEL, COMMIT)  # this hub has one file and no API
    assert [60.0 <= wait <= 76.0 for wait in waits] == [True, True]

    with FlakyHub(429, headers=limit) as server, pytest.raises(RateLimited):
        patient(server).resolve(MODEL, "main")


def test_a_snapshot_does_not_wait_where_the_hub_does_not_say_how_long() -> None:
    waits: list[float] = []
    with FlakyHub(429) as server, pytest.raises(RateLimited):
        patient(server, waits).snapshot(MODEL, COMMIT)
    assert waits == []


def test_a_snapshot_does_not_wait_for_ever() -> None:
    waits: list[float] = []
    with FlakyHub(*[429] * 50, headers={"RateLimit": '"api";r=0;t=300'}) as server, pytest.raises(RateLimited):
        patient(server, waits).snapshot(MODEL, COMMIT)
    assert sum(waits) <= 900

    with FlakyHub(*[429] * 50, headers={"Retry-After": "1"}) as server, pytest.raises(RateLimited):
        patient(server, waits).snapshot(MODEL, COMMIT)
    assert len(server.seen) == 5


def test_a_mirror_that_drops_the_commit_is_named_with_its_setting() -> None:
    waits: list[float] = []
    with FlakyHub(*["no_commit"] * 10) as server, pytest.raises(HubUnavailable, match="X-Repo-Commit") as raised:
        read(patient(server, waits))
    assert "HF_ENDPOINT" in raised.value.remedy
    assert (len(waits), sum(waits) < 2) == (1, True)


def test_an_answer_without_its_commit_is_asked_for_again_where_others_named_theirs() -> None:
    with FlakyHub() as server:
        hub = patient(server)
        first, server.faults = read(hub), ["no_commit"] * 4
        assert read(hub) == first


@pytest.mark.parametrize(("fault", "error"), [("wrong_commit", RevisionNotFound), ("no_commit", HubUnavailable)])
def test_bytes_of_another_commit_are_not_handed_on(fault: str, error: type[GenaiError]) -> None:
    with FlakyHub(*[fault] * 10) as server, pytest.raises(error):
        read(patient(server))


class Renamed(HubServer):
    """A hub that sends callers of an old name on to the new one, as the public hub does. `whole`: by a whole URL."""

    whole = False

    def answer(self, request: Request) -> Response:
        old = request.url.path
        if "/old-" not in old:
            return super().answer(request)
        new = old.replace("/old-", "/") + (f"?{request.url.query}" if request.url.query else "")
        return Response(status_code=307, headers={"Location": f"{self.url}{new}" if self.whole else new})


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("name", "token"), [("owner/old-model", None), ("owner/old-gated", "good")])
def test_a_renamed_repository_is_read_by_its_old_name(server: HubServer, whole: bool, name: str, token: str) -> None:
    with Renamed(server.folder, server.state, tokens=frozenset({"good"})) as renamed:
        renamed.whole = whole
        hub = patient(renamed, token=token)  # pyright: ignore[reportArgumentType]
        revision = hub.resolve(name, "main")
        assert {file.path for file in hub.snapshot(name, revision).files} >= {"config.json", "model.safetensors"}
        assert b"".join(hub.read(name, revision, "config.json")) == b'{"tag": "v1"}'


def test_a_renamed_gated_repository_is_refused_without_a_token(server: HubServer) -> None:
    with Renamed(server.folder, server.state, tokens=frozenset({"good"})) as renamed:
        hub = HuggingFaceHub(renamed.url)
        with pytest.raises(AccessDenied):
            list(hub.read("owner/old-gated", hub.resolve("owner/old-gated", "main"), "config.json"))


def test_a_ref_of_a_pull_request_is_a_ref(server: HubServer, hub: HuggingFaceHub) -> None:
    config = server.folder / MODEL / "repo.yaml"
    config.write_text(config.read_text().replace("refs: {main: v1}", "refs: {main: v1, refs/pr/1: v2}"))

    assert hub.resolve(MODEL, "refs/pr/1") == hub.resolve(MODEL, "v2")


def test_the_token_is_not_sent_to_another_host() -> None:
    with FlakyHub() as storage, FlakyHub(redirect_to=f"{storage.url}/signed?x=1") as server:
        assert read(patient(server, token="secret"), 10, 20) == CONTENT[10:20]
        assert server.headers_seen("Authorization") == ["Bearer secret"]
        assert storage.headers_seen("Authorization") == [None]


def test_a_signed_address_is_used_again_until_it_expires() -> None:
    with FlakyHub() as storage, FlakyHub(redirect_to=f"{storage.url}/signed?x=1") as server:
        hub = patient(server)
        for start in range(4):
            assert read(hub, start, start + 1) == CONTENT[start : start + 1]
        assert len(server.seen) == 1
        storage.faults.append(403)
        assert read(hub, 4, 9) == CONTENT[4:9]
        assert len(server.seen) == 2


def test_nothing_is_written_to_disk(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "home/harnesses.json"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    hub = HuggingFaceHub(server.url)
    list(hub.read(MODEL, hub.snapshot(MODEL, "main").revision, "config.json"))
    assert not (tmp_path / "home").exists()
    assert constants.HF_HUB_DISABLE_TELEMETRY is True


def test_a_mirror_that_lists_no_sizes_is_named() -> None:
    class Mirror(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

        def do_GET(self) -> None:
            body = json.dumps({"id": MODEL, "sha": COMMIT, "siblings": [{"rfilename": "config.json"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(HubUnavailable, match=r"lists no size for 1 files of .*, such as config\.json"):
            HuggingFaceHub(f"http://127.0.0.1:{server.server_port}").snapshot(MODEL, COMMIT)
        server.shutdown()

"""The init container of an engine's pod, as its file runs there, against a real S3."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading

import pytest

from genai_pipeline.k8s import pipeline_only, restoring
from genai_pipeline.k8s.engine import POD_FILES

FILES = {
    "cache/vllm/torch_compile_cache/ab/model": b"graph",
    "cache/vllm/startup_plan/startup_plan_ab.json": b"{}",
    "cache/triton/AB/kernel.so": b"\x7fELF",
    ".cache/flashinfer/0.6/90/build.ninja": b"rule",
}
LONG_AGO = 1_700_000_000.25


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def run(tmp_path, home, s3_server):
    """Runs the file as the pod does, with this environment. Returns what it wrote, and what it printed."""
    for file in POD_FILES:
        (tmp_path / file.name).write_text(file.source)

    def run(deadline_s=0, **env):
        script = [str(tmp_path / "genai_restoring.py")]
        if deadline_s:
            call = f"restore(pathlib.Path({str(home)!r}), os.environ, {deadline_s})"
            script = ["-c", f"import os, pathlib; from genai_restoring import restore; {call}"]
        own = os.environ | s3_server.env | {"HOME": str(home), "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, *script], env=own | env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads((home / restoring.SAID).read_text()), done.stdout

    return run


def packed(tmp_path, files=FILES):
    """What an engine's pod gives, with files of long ago."""
    source = tmp_path / "engine"
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
        (source / name).chmod(0o755)
        os.utime(source / name, (LONG_AGO, LONG_AGO))
    file = pipeline_only.pack(source, threading.Event()).file
    assert file
    with file:
        return file.read()


def tar_of(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, link="", size=1):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


def kept(store, archive):
    """Put an archive where the pipeline would, and return what the ConfigMap then says."""
    sha256 = hashlib.sha256(archive).hexdigest()
    store.put(f"models/m/caches/r/k/{sha256}.tar", archive)
    return {
        "GENAI_CACHE_URL": f"s3://{store.bucket}/models/m/caches/r/k/{sha256}.tar",
        "GENAI_CACHE_SHA256": sha256,
        "GENAI_CACHE_MADE_WITH": json.dumps(restoring.made_with({})),
    }


def files_of(home):
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def test_what_the_engine_before_compiled_is_there_as_it_was(run, home, store, tmp_path):
    archive = packed(tmp_path)

    said, printed = run(**kept(store, archive))

    assert (said["reason"], said["bytes"]) == ("hit", len(archive))
    assert said["sha256"] == hashlib.sha256(archive).hexdigest()
    assert {n: c for n, c in files_of(home).items() if n != restoring.SAID} == FILES
    kernel = (home / "cache/triton/AB/kernel.so").stat()
    assert (kernel.st_mtime, kernel.st_mode & 0o700) == (LONG_AGO, 0o700)
    assert printed.count("\n") == 1


def missed(home, said, printed, why):
    """Nothing is left but the word of it."""
    assert (said["reason"] == "hit", said["bytes"]) == (False, 0)
    assert why in said["why"]
    assert list(files_of(home)) == [restoring.SAID]
    assert [p.name for p in home.iterdir()] == ["cache"]
    assert printed.count("\n") <= 1


def test_a_release_without_an_archive_starts_without(run, home):
    missed(home, *run(), "no archive yet")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"GENAI_CACHE_SHA256": "0" * 64}, "sha256"),
        ({"GENAI_CACHE_SHA256": ""}, "sha256"),
        ({"GENAI_CACHE_MADE_WITH": json.dumps(restoring.made_with({}) | {"torch": "2.12.0"})}, "torch '2.12.0'"),
        ({"GENAI_CACHE_MADE_WITH": ""}, "vllm None"),
        ({"GENAI_CACHE_MADE_WITH": "{"}, "JSONDecodeError"),
        ({"GENAI_CACHE_FOR": "cpu"}, "isa None"),
        ({"GENAI_CACHE_URL": "s3://absent/models/m/caches/r/k/a.tar"}, "404"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "40"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "EndpointConnectionError"),
    ],
)
def test_what_does_not_fit_or_does_not_come_is_as_no_archive(run, home, store, tmp_path, changed, why):
    missed(home, *run(**kept(store, packed(tmp_path)) | changed), why)


@pytest.mark.parametrize(
    "last",
    [
        member("cache/vllm/assets/model_streamer/config.json"),
        member("cache/triton/../../config/x"),
        member("/etc/passwd"),
        member("cache/triton"),
        member("cache/triton/linked", tarfile.SYMTYPE, "/etc/passwd"),
        member("cache/triton/hard", tarfile.LNKTYPE, "cache/vllm/modelinfos/a.json"),
        member("cache/triton/device", tarfile.CHRTYPE),
    ],
    ids=lambda m: m.name,
)
def test_an_archive_with_anything_else_in_it_is_not_taken_at_all(run, home, store, last):
    archive = tar_of(member("cache/vllm/modelinfos/a.json"), last)

    missed(home, *run(**kept(store, archive)), last.name)


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_an_archive_that_was_cut_before_it_was_kept_is_not_taken(run, home, store, keep):
    archive = tar_of(member("cache/triton/a"), member("cache/triton/b", size=100_000))

    missed(home, *run(**kept(store, archive[: int(100_000 * keep)])), "ReadError")


def test_a_store_that_says_nothing_does_not_hold_the_pod(run, home, store, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said, printed = run(deadline_s=1, **kept(store, packed(tmp_path)) | {"AWS_ENDPOINT_URL": address})

    missed(home, said, printed, "not done after 1 s")
    assert said["seconds"] < 5


def test_what_a_killed_restore_left_is_removed_first(run, home):
    for left in (".genai-restoring-ab/files/cache/triton/a", "cache/triton/half", "cache/vllm/startup_plan/x"):
        (home / left).parent.mkdir(parents=True)
        (home / left).touch()

    missed(home, *run(), "no archive yet")


def test_a_pod_whose_init_containers_run_again_keeps_what_its_engine_compiled(run, home, store, tmp_path):
    first, _ = run()
    (home / "cache/triton").mkdir()
    (home / "cache/triton/own").touch()

    again, _ = run(**kept(store, packed(tmp_path)))

    assert again == first
    assert (home / "cache/triton/own").exists()


def test_the_processor_counts_where_it_computes(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"

    def made(text, engine="cpu"):
        cpuinfo.write_text(text)
        return restoring.made_with({"GENAI_CACHE_FOR": engine}, cpuinfo)

    assert made("flags\t\t: fpu avx2\n") == made("model name\t: other\nflags\t\t: avx2 fpu\n")
    assert made("flags\t\t: fpu avx2\n") != made("flags\t\t: fpu avx2 avx512f\n")
    assert made("Features\t: fp asimd\n") != made("Features\t: fp asimd sve\n")
    assert made("flags\t\t: fpu avx2\n", "gpu") == made("flags\t\t: fpu\n", "gpu")

"""`python -m genai_pipeline.local.open_webui`: Open WebUI on this machine, as its image starts it in a cluster.

It has pins of its own (openai, fastapi, mcp), so it lives in a virtual environment of its own: once per machine,
outside of the checkout. The packages that only its own models need (torch and others) are left out. It is installed by
the first process that needs it: the one that `genai up` starts in the background, or else the pod.

Licence of Open WebUI: "Open WebUI License". It is installed as it is, and nothing of it is shipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from genai_pipeline.core.chat_settings import OPEN_WEBUI_VERSION
from genai_pipeline.core.errors import NotReady
from genai_pipeline.local.state_files import locked

PYTHONS = ("3.12", "3.11")
"""Source: `Requires-Python` of open-webui on PyPI, >=3.11,<3.13."""
NOT_INSTALLED = ("torch", "triton", "sentence-transformers", "transformers", "faster-whisper")
"""For embeddings and speech of its own. Without them it has 225 packages in 1.2 GB, and asks an endpoint for both."""
STAMP = "installed"
UV_BESIDE_CHECKOUT = Path(__file__).parents[2] / ".uv" / "bin"


def folder_of(env: Mapping[str, str]) -> Path:
    """Return the folder of the virtual environment. It may not exist yet."""
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or Path.home()) / ".cache")
    return cache / "genai-pipeline" / f"open-webui-{OPEN_WEBUI_VERSION}"


def is_installed(folder: Path) -> bool:
    """Return whether all of it is there, and the interpreter that it was made with still exists."""
    return (folder / STAMP).exists() and (folder / "bin" / "python").exists()


def find_python(env: Mapping[str, str]) -> str | None:
    """Return an interpreter that Open WebUI runs on: this one, or one on PATH that starts."""
    if "{}.{}".format(*sys.version_info) in PYTHONS:
        return sys.executable
    on_path = (shutil.which(f"python{version}", path=env.get("PATH", "")) for version in PYTHONS)
    return next((python for python in on_path if python and _starts(python)), None)


def find_uv(env: Mapping[str, str]) -> str | None:
    """Return uv: the one on PATH, beside this interpreter, or the one that `make install` fetched."""
    path = os.pathsep.join([env.get("PATH", ""), str(Path(sys.executable).parent), str(UV_BESIDE_CHECKOUT)])
    return shutil.which("uv", path=path)


def why_not_installable(env: Mapping[str, str]) -> str:
    """Return what is missing to install it, or an empty text."""
    if is_installed(folder_of(env)):
        return ""
    if find_python(env) is None:
        return f"Open WebUI needs Python {' or '.join(PYTHONS)}, and none is on PATH"
    if find_uv(env) is None:
        return "Open WebUI is installed by uv, and there is none on PATH"
    return ""


def install(folder: Path, python: str | None, uv: str | None) -> None:
    """Install it. Two at once do it once; what a killed one left is removed first.

    Raises: NotReady: something to install it with is missing, or uv did not succeed. uv's own words are on stderr.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if is_installed(folder):
            return
        if python is None or uv is None:
            raise NotReady(f"Open WebUI is not in {folder}, and uv or Python is missing.", "See docs/chat.md.")
        shutil.rmtree(folder, ignore_errors=True)
        without = folder.with_name(f"{folder.name}.overrides")
        without.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in NOT_INSTALLED))
        _run([uv, "venv", "--quiet", "--python", python, str(folder)])
        packages = [f"open-webui=={OPEN_WEBUI_VERSION}", "--overrides", str(without)]
        _run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages])
        (folder / STAMP).touch()


def server_command(folder: Path, env: Mapping[str, str]) -> list[str]:
    """Return what starts it where the image's own script would, with the same variables HOST and PORT."""
    where = ["--host", env.get("HOST", "127.0.0.1"), "--port", env.get("PORT", "8080")]
    return [str(folder / "bin" / "open-webui"), "serve", *where]


def _starts(python: str) -> bool:
    """A shim of pyenv is on PATH for versions that are not chosen."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotReady(f"Open WebUI was not installed: {error}.", "See what uv says above.") from error


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="genai_pipeline.local.open_webui")
    parser.add_argument("--folder", type=Path, default=folder_of(os.environ), help="of the virtual environment")
    parser.add_argument("--python", help="interpreter to install it with (default: the first that fits)")
    parser.add_argument("--uv", help="uv to install it with (default: the one on PATH)")
    parser.add_argument("--install-only", action="store_true", help="do not start it")
    given = parser.parse_args(words)
    try:
        if not is_installed(given.folder):
            install(given.folder, given.python or find_python(os.environ), given.uv or find_uv(os.environ))
    except NotReady as error:
        sys.exit(str(error))
    if not given.install_only:
        command = server_command(given.folder, os.environ)
        os.execv(command[0], command)


if __name__ == "__main__":
    main()

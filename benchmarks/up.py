"""How long `genai up` takes, by part, in a home of its own; the installation is not part of it.

python benchmarks/up.py            services, rollout to live, a second `up`, down, up again from kept state
python benchmarks/up.py --services services only
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEADLINE_S = 3600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", action="store_true", help="without a rollout")
    services_only = parser.parse_args().services
    with tempfile.TemporaryDirectory(prefix="genai-") as home:
        env = os.environ | {"GENAI_HOME": home}
        up = ["up", "--no-wait"] if services_only else ["up"]
        try:
            for name, command in (("cold", up), ("already live", up), ("down", ["down"]), ("from kept state", up)):
                print(f"{name:16} {seconds_of(command, env):6.1f} s", flush=True)
            if not services_only:
                show_assets(env)
        finally:
            print(f"{'down':16} {seconds_of(['down'], env):6.1f} s")
    return 0


def seconds_of(command: list[str], env: dict[str, str]) -> float:
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "genai_pipeline.cli", *command],
        cwd=Path(__file__).parents[1],
        env=env,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=DEADLINE_S,
    )
    return time.monotonic() - started


def show_assets(env: dict[str, str]) -> None:
    status = subprocess.run(
        [sys.executable, "-m", "genai_pipeline.cli", "status", "--json"],
        cwd=Path(__file__).parents[1],
        env=env,
        capture_output=True,
        check=True,
    )
    for model in json.loads(status.stdout)["models"]:
        for release in model["releases"]:
            for asset, seconds in release["timings"].items():
                print(f"  {model['name']}/{asset:16} {seconds:6.1f} s")


if __name__ == "__main__":
    sys.exit(main())

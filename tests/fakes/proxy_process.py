"""`Proxy` as a process of its own, for benchmarks: it takes no time of the interpreter that is measured.

    with ProxyProcess(server.endpoint, latency_s=0.08, failing=0.01) as proxy:
        S3Store("bucket", S3Settings(proxy.url))

`latency_s` is added to every request. `failing` is the share of requests that fail, in turn as 503, a body that breaks
off half way, 500, 429 with `Retry-After: 1`, a connection that breaks before the server sees the request, and one that
breaks after it did what it was asked. It ends with its caller (at the end of its standard input), or after
LONGEST_LIFE_S.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from pathlib import Path

from tests.fakes.bad_replies import share
from tests.fakes.exchange import no_fault
from tests.fakes.proxy import Proxy

LONGEST_LIFE_S = 3600
ROOT = Path(__file__).parents[2]


class ProxyProcess:
    """Use as a context manager; `url` is where it listens."""

    def __init__(self, upstream: str, latency_s: float = 0.0, failing: float = 0.0, seed: int = 0) -> None:
        options = ["--latency", str(latency_s), "--failing", str(failing), "--seed", str(seed)]
        command = [sys.executable, "-m", "tests.fakes.proxy_process", upstream, *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"The proxy did not start; run by hand: {' '.join(command)}")

    def __enter__(self) -> ProxyProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--failing", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    fault = share(args.failing, args.seed) if args.failing else no_fault
    with Proxy(args.upstream, args.latency, fault) as proxy:
        sys.stdout.write(proxy.url + "\n")
        sys.stdout.flush()
        caller = threading.Thread(target=sys.stdin.read, daemon=True)
        caller.start()
        caller.join(LONGEST_LIFE_S)


if __name__ == "__main__":
    main()

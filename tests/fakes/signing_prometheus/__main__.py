"""python -m tests.fakes.signing_prometheus"""

from __future__ import annotations

import shutil
import sys

from tests.fakes.signing_prometheus import WITHOUT, build

if __name__ == "__main__":
    without_go = f"There is no Go, so no Prometheus is built. A test is skipped: it {WITHOUT}."
    sys.stdout.write(f"{build() if shutil.which('go') else without_go}\n")

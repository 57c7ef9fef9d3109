"""python -m tests.cluster.operators [NAME …]"""

from __future__ import annotations

import resource
import shutil
import sys

from tests.cluster.operators.operator_builds import KEDA, PROMETHEUS, make


def main(names: list[str]) -> int:
    if not shutil.which("go"):
        sys.stdout.write("There is no Go, so no operator is built. Their tests are skipped.\n")
        return 0
    for operator in (PROMETHEUS, KEDA):
        if not names or operator.name in names:
            folder = make(operator)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = used.ru_utime + used.ru_stime
            sys.stdout.write(f"{operator.name}: {folder} ({seconds:.0f} s of processor time so far)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

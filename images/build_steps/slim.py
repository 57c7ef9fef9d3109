"""Remove the parts of installed packages that are never read: `python3 slim.py packages SERVICE…`.

botocore has descriptions of 400 services of AWS, 30 MB of files. Only the named ones stay, and those that give
credentials. Tests are removed too.
"""

import shutil
import sys
from collections.abc import Set
from pathlib import Path

CREDENTIALS = {"signin", "sso", "sso-oidc", "sts"}


def main(packages: Path, services: Set[str]) -> None:
    for service in (packages / "botocore" / "data").iterdir():
        if service.is_dir() and service.name not in services | CREDENTIALS:
            shutil.rmtree(service)
    # Not `test`: Dagster's code server imports dagster._utils.test.
    for tests in list(packages.rglob("tests")):
        if tests.is_dir() and tests.parent != packages:
            shutil.rmtree(tests)


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]))

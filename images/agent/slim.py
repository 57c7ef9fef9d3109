"""Remove the parts of installed packages that the agent never reads: `python3 slim.py packages`.

botocore has descriptions of 400 services of AWS, 30 MB of files. The agent uses Bedrock and S3, and the services that
give it credentials. Tests and console scripts are removed too.
"""

import shutil
import sys
from pathlib import Path

SERVICES = {"bedrock-runtime", "s3", "signin", "sso", "sso-oidc", "sts"}


def main(packages: Path) -> None:
    for service in (packages / "botocore" / "data").iterdir():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for tests in [*packages.rglob("tests"), *packages.rglob("test")]:
        if tests.is_dir() and tests.parent != packages:
            shutil.rmtree(tests)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

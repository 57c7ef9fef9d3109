"""A CycloneDX document of an image: `python3 sbom.py NAME PACKAGES BASE VERSION`, with cyclonedx-bom installed.

PACKAGES is the folder of the image's own packages. BASE is the root of the base image; the document lists its Debian
packages and its Python's site-packages. The document is checked against the schema. Runs in the image's build only.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any
from urllib.parse import quote


def main(name: str, packages: Path, base: Path, version: str) -> None:
    folders = [packages, *sorted(base.glob("usr/local/lib/python3*/site-packages"))]
    bom = python_packages([folder.absolute() for folder in folders])
    bom["metadata"]["component"] = {
        "type": "container",
        "name": name,
        "version": version,
        "bom-ref": name,
        "purl": f"pkg:oci/{name}?tag={version}",
    }
    bom["components"] += debian_packages(base)
    document = json.dumps(bom, indent=1, sort_keys=True)
    refuse_invalid(document)
    sys.stdout.write(document + "\n")


def python_packages(folders: list[Path]) -> dict[str, Any]:
    """Return the document of cyclonedx-bom for a Python that sees only these folders."""
    with tempfile.TemporaryDirectory() as work:
        python = Path(work) / "python"
        path = os.pathsep.join(map(str, folders))
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" -S "$@"\n')
        python.chmod(0o755)
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
        command += ["--spec-version", "1.6", "--output-format", "JSON", str(python)]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def debian_packages(base: Path) -> Iterator[dict[str, Any]]:
    """Yield the packages in dpkg's list, or in the files that images without dpkg have."""
    folder = base / "var" / "lib" / "dpkg"
    for file in [folder / "status", *sorted((folder / "status.d").glob("*"))]:
        if not file.is_file() or file.suffix == ".md5sums":
            continue
        for stanza in filter(None, map(str.strip, file.read_text().split("\n\n"))):
            package = Parser().parsestr(stanza)
            if "installed" in package.get("Status", "installed").split()[-1:]:
                name, version, architecture = package["Package"], package["Version"], package["Architecture"]
                purl = f"pkg:deb/debian/{name}@{quote(version)}?arch={architecture}"
                yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def refuse_invalid(document: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    if error:
        sys.exit(f"The SBOM does not meet CycloneDX 1.6: {error}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])

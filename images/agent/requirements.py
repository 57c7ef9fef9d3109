"""Write the requirements of the extra `agent`, one on each line: `python3 requirements.py pyproject.toml`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
sys.stdout.write("\n".join(project["optional-dependencies"]["agent"]) + "\n")

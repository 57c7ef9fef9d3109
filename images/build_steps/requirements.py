"""Write requirements of the project, one on each line: `python3 requirements.py pyproject.toml EXTRA…`.

The word `pipeline` stands for what the package itself needs.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
groups = project["optional-dependencies"] | {"pipeline": project["dependencies"]}
sys.stdout.write("".join(f"{line}\n" for name in sys.argv[2:] for line in groups[name]))

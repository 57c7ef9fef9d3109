import re
import subprocess
import sys
from pathlib import Path

from genai_pipeline.core.model_file import parse_model

ROOT = Path(__file__).parents[2]


def test_the_model_file_of_the_readme_is_right():
    (example,) = re.findall(r"```yaml\n(name: .+?)```", (ROOT / "README.md").read_text(), re.S)

    assert parse_model(example, "README.md").serving.gpu


def test_the_reference_pages_are_current():
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr

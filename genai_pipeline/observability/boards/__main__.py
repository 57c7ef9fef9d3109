"""Write all dashboards: `python -m genai_pipeline.observability.boards [FOLDER]`."""

import sys
from pathlib import Path

from genai_pipeline.observability.boards.every_board import written
from genai_pipeline.observability.dashboard_files import DASHBOARDS

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DASHBOARDS
for name, text in written().items():
    (folder / name).write_text(text)

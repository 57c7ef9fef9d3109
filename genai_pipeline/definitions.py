"""The code location: everything below defs/. Loading it uses no network and needs no environment."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load the folder defs/. The component ServedModels in it reads the model files."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)

"""platform/model_files: the folder of model files, as this code location read it."""

from collections.abc import Iterator

import dagster as dg

from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.verdict import judge


def model_files_of(files: ModelFiles) -> dg.AssetsDefinition:
    """Return the asset. Its description has every problem, so that the UI shows it without a run."""
    problems = [line for error in files.errors for line in error.problems]

    @dg.asset(
        key=[GROUP, "model_files"],
        group_name=GROUP,
        check_specs=check_specs("model_files"),
        metadata={"models": len(files.specs), "problems": dg.MetadataValue.md("\n".join(problems) or "none")},
        description="The model files as this code location read them. " + " · ".join(problems),
    )
    def model_files() -> Iterator[dg.MaterializeResult]:
        summary = "\n".join(problems) or f"{len(files.specs)} model files are right."
        yield from result("model_files", [judge("valid", not problems, summary)])

    return model_files

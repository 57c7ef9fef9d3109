"""Our errors as Dagster's failures: no traceback to read, and a word on whether trying again can help."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from genai_pipeline.core.errors import GenaiError, Unavailable


@contextmanager
def explained() -> Iterator[None]:
    """End the step with the error's own words; only what was unavailable is worth a retry."""
    try:
        yield
    except GenaiError as error:
        raise dg.Failure(str(error), allow_retries=isinstance(error, Unavailable)) from error

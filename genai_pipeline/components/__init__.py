"""Components of this project, as `dg list components` shows them."""

from genai_pipeline.components.served_models import ServedModels

__all__ = ["ServedModels"]

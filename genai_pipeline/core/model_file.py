"""Read `models/*.yaml`. Every mistake is reported by file, line, field and remedy, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.yaml_file import YamlFileError, parse_yaml


@dataclass(frozen=True)
class ModelFiles:
    """What a folder of model files gave: the good models, and an error per bad file."""

    specs: tuple[ModelSpec, ...]
    errors: tuple[ModelFileError, ...]


def read_models(folder: Path) -> ModelFiles:
    """Read every model file below `folder`; one bad file does not take the others with it."""
    specs: dict[str, ModelSpec] = {}
    errors: list[ModelFileError] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec = parse_model(path.read_text(), str(path))
            if spec.name in specs:
                raise ModelFileError(str(path), [f"{path}: name: another file already defines {spec.name!r}."])
            specs[spec.name] = spec
        except ModelFileError as error:
            errors.append(error)
        except (OSError, UnicodeDecodeError) as error:
            errors.append(ModelFileError(str(path), [f"{path}: cannot be read as UTF-8 text: {error}."]))
    return ModelFiles(tuple(specs.values()), tuple(errors))


def parse_model(text: str, path: str) -> ModelSpec:
    """Parse one model file.

    Raises: ModelFileError: with one line per mistake.
    """
    try:
        return parse_yaml(text, path, ModelSpec, "a model file")
    except YamlFileError as error:
        raise ModelFileError(path, error.problems) from error

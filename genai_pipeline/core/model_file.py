"""Read `models/*.yaml`. Every mistake is reported by file, line, field and remedy, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.yaml_file import Location, YamlFileError, parse_yaml


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
            spec = _with_suites_of(folder, parse_model(path.read_text(), str(path), folder))
            if spec.name in specs:
                raise ModelFileError(str(path), [f"{path}: name: another file already defines {spec.name!r}."])
            specs[spec.name] = spec
        except ModelFileError as error:
            errors.append(error)
        except (OSError, UnicodeDecodeError) as error:
            errors.append(ModelFileError(str(path), [f"{path}: cannot be read as UTF-8 text: {error}."]))
    return ModelFiles(tuple(specs.values()), tuple(errors))


def parse_model(text: str, path: str, folder: Path | None = None) -> ModelSpec:
    """Parse one model file.

    Args:
        folder: where the suites' files lie that it names, which then must be there.
    Raises: ModelFileError: with one line per mistake.
    """

    def missing(spec: ModelSpec) -> Iterator[tuple[Location, str]]:
        for field, suite in _suite_files(spec, folder).items() if folder else ():
            if not suite.is_file():
                yield (
                    ("gates", "agent", field),
                    f"there is no file {suite}. Its path counts from the model file's folder.",
                )

    try:
        return parse_yaml(text, path, ModelSpec, "a model file", check=missing)
    except YamlFileError as error:
        raise ModelFileError(path, error.problems) from error


def _suite_files(spec: ModelSpec, folder: Path) -> dict[str, Path]:
    """The suites that are named by a file and not by a name of ours; from wherever the process runs."""
    named = {field: getattr(spec.gates.agent, field) for field in ("suite", "tool_calling_suite")}
    files = {field: Path(suite) for field, suite in named.items() if suite.endswith((".yaml", ".yml"))}
    return {field: (folder / path.expanduser()).absolute() for field, path in files.items()}


def _with_suites_of(folder: Path, spec: ModelSpec) -> ModelSpec:
    """With the whole paths of its suites."""
    found = {field: str(path) for field, path in _suite_files(spec, folder).items()}
    agent = spec.gates.agent.model_copy(update=found)
    return spec.model_copy(update={"gates": spec.gates.model_copy(update={"agent": agent})}) if found else spec

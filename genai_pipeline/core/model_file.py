"""Read `models/*.yaml`. Every mistake is reported by file, line, field and remedy, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genai_pipeline.core.engine_args import problems
from genai_pipeline.core.errors import ModelFileError
from genai_pipeline.core.loader import unloadable_formats
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.one_machine import against_one_machine
from genai_pipeline.core.purpose import contradictions
from genai_pipeline.core.ray_rules import against_ray
from genai_pipeline.core.standby_rules import against_standby
from genai_pipeline.core.yaml_file import Location, YamlFileError, parse_yaml

Stamp = tuple[int, int] | None


@dataclass(frozen=True)
class ModelFiles:
    """What a folder of model files gave: the good models, and an error per bad file.

    Args:
        read_from: model -> its file, and the stamp of what was read; models that come from no file are not in it.
        on_one_machine: what one machine cannot do was refused.
    """

    specs: tuple[ModelSpec, ...]
    errors: tuple[ModelFileError, ...]
    read_from: Mapping[str, tuple[Path, Stamp]] = field(default_factory=dict[str, tuple[Path, Stamp]])
    on_one_machine: bool = False

    def why_gone(self, model: str) -> str:
        """Return why a run that reads the files now would not find this model, or an empty text."""
        path, stamp = self.read_from.get(model, (None, None))
        if path is None or _stamp(path) == stamp:
            return ""
        now = read_models(path.parent, self.on_one_machine)
        if model in {spec.name for spec in now.specs}:
            return ""
        wrong = [problem for error in now.errors if error.path == str(path) for problem in error.problems]
        return "; ".join(wrong) or f"{path} defines this model no longer, and no other file does."


def read_models(folder: Path, on_one_machine: bool = False) -> ModelFiles:
    """Read every model file below `folder`; one bad file does not take the others with it.

    Args:
        on_one_machine: refuse what one machine cannot do, as the profile `local` needs it.
    """
    specs: dict[str, ModelSpec] = {}
    read_from: dict[str, tuple[Path, Stamp]] = {}
    errors: list[ModelFileError] = []
    for path in model_paths(folder):
        try:
            stamp = _stamp(path)
            spec = read_model(path.read_text(), str(path), folder, on_one_machine)
            if spec.name in specs:
                raise ModelFileError(str(path), [f"{path}: name: another file already defines {spec.name!r}."])
            specs[spec.name], read_from[spec.name] = spec, (path, stamp)
        except ModelFileError as error:
            errors.append(error)
        except (OSError, UnicodeDecodeError) as error:
            errors.append(ModelFileError(str(path), [f"{path}: cannot be read as UTF-8 text: {error}."]))
    return ModelFiles(tuple(specs.values()), tuple(errors), read_from, on_one_machine)


def model_paths(folder: Path) -> list[Path]:
    """Return the model files of a folder: `*.yaml` and `*.yml`."""
    return sorted(path for pattern in ("*.yaml", "*.yml") for path in folder.glob(pattern))


def _stamp(path: Path) -> Stamp:
    """Tells a file that was written since, or None for one that is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_model(text: str, path: str, folder: Path, on_one_machine: bool = False) -> ModelSpec:
    """Parse one model file, and find its suites below `folder`. Raises: ModelFileError: with one line per mistake."""
    return _with_suites_of(folder, parse_model(text, path, folder, on_one_machine))


def unchecked_model(text: str, path: str) -> ModelSpec | None:
    """Return a model file whose parts may contradict each other, or None where a field itself is wrong."""
    try:
        return parse_yaml(text, path, ModelSpec, "a model file")
    except YamlFileError:
        return None


def parse_model(text: str, path: str, folder: Path | None = None, on_one_machine: bool = False) -> ModelSpec:
    """Parse one model file.

    Args:
        folder: where the suites' files lie that it names, which then must be there.
        on_one_machine: refuse what one machine cannot do.
    Raises: ModelFileError: with one line per mistake.
    """

    def wrong(spec: ModelSpec) -> Iterator[tuple[Location, str]]:
        yield from problems(spec)
        yield from contradictions(spec)
        yield from unloadable_formats(spec)
        yield from against_ray(spec)
        yield from against_standby(spec)
        yield from against_one_machine(spec) if on_one_machine else ()
        for name, suite in _suite_files(spec, folder).items() if folder else ():
            if not suite.is_file():
                yield (
                    ("gates", "agent", name),
                    f"there is no file {suite}. Its path counts from the model file's folder.",
                )

    try:
        return parse_yaml(text, path, ModelSpec, "a model file", check=wrong)
    except YamlFileError as error:
        raise ModelFileError(path, error.problems) from error


def _suite_files(spec: ModelSpec, folder: Path) -> dict[str, Path]:
    """Return the suites that are files, as absolute paths."""
    named = {field: getattr(spec.gates.agent, field) for field in ("suite", "tool_calling_suite")}
    files = {field: Path(suite) for field, suite in named.items() if suite.endswith((".yaml", ".yml"))}
    return {field: (folder / path.expanduser()).absolute() for field, path in files.items()}


def _with_suites_of(folder: Path, spec: ModelSpec) -> ModelSpec:
    """With the whole paths of its suites."""
    found = {field: str(path) for field, path in _suite_files(spec, folder).items()}
    agent = spec.gates.agent.model_copy(update=found)
    return spec.model_copy(update={"gates": spec.gates.model_copy(update={"agent": agent})}) if found else spec

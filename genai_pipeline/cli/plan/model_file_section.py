"""The part of a plan about the model file itself: found by name or by path, with every mistake by its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.core.errors import ModelFileError, NotFound
from genai_pipeline.core.model_file import ModelFiles, model_paths, read_model, read_models, unchecked_model
from genai_pipeline.core.model_spec import ModelSpec


@dataclass(frozen=True)
class FoundFile:
    """A model file.

    Args:
        spec: the model, or None if the file has wrong fields.
        specs: all models of the folder, this one included.
    """

    path: Path
    section: PlanSection
    spec: ModelSpec | None
    specs: tuple[ModelSpec, ...]

    @property
    def refused(self) -> bool:
        """Return whether the file has mistakes, so that no rollout would read it."""
        return any(line.level == "change" for line in self.section.lines)

    @property
    def name(self) -> str:
        return self.spec.name if self.spec else self.path.stem


def look_at_file(asked: str, folder: Path, on_one_machine: bool) -> FoundFile:
    """Read a model file.

    Args:
        asked: name of a model in `folder`, or a path; a path has a `/`, or the suffix of a YAML file.
        on_one_machine: refuse what one machine cannot do.
    Raises: NotFound: there is no such file.
    """
    files = read_models(folder, on_one_machine)
    is_path = "/" in asked or asked.endswith((".yaml", ".yml"))
    path = Path(asked).expanduser() if is_path else _path_of(asked, files, folder)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read ({error}).", "Name a model, or the path of a model file.") from error
    lines: list[PlanLine] = []
    try:
        spec = read_model(text, str(path), path.parent.absolute(), on_one_machine)
        lines.append(PlanLine("ok", f"{path} is valid."))
    except ModelFileError as error:
        lines += [PlanLine("change", problem) for problem in error.problems]
        spec = unchecked_model(text, str(path))
    others = tuple(other for other in files.specs if spec is None or other.name != spec.name)
    if path.parent.resolve() != folder.resolve():
        lines += _outside(spec, files, folder)
    return FoundFile(path, PlanSection("File", lines), spec, (*others, *([spec] if spec else [])))


def _path_of(model: str, files: ModelFiles, folder: Path) -> Path:
    """Return the file that defines a model; of a file that is wrong, the one that is called so."""
    if model in files.read_from:
        return files.read_from[model][0]
    named = next((path for path in model_paths(folder) if path.stem == model), None)
    if named is None:
        known = ", ".join(sorted(files.read_from)) or "none"
        raise NotFound(f"There is no model {model} in {folder}.", f"Known models: {known}. A path works too.")
    return named


def _outside(spec: ModelSpec | None, files: ModelFiles, folder: Path) -> list[PlanLine]:
    """Say what to do about a file that no sensor reads."""
    there = files.read_from.get(spec.name) if spec else None
    if spec and there:
        taken = f"{there[0]} defines {spec.name} already: this plan is what would happen if this file took its place."
        return [PlanLine("hint", taken)]
    return [PlanLine("hint", f"Nothing starts until the file is in {folder}.")]

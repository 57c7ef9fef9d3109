"""Model files of tests: the few lines that a test is about, and what every model with an agent needs."""

import yaml

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec

TOOL_ARGS = {"enable-auto-tool-choice": True, "tool-call-parser": "hermes"}
TOOLS = "serving: {args: {enable-auto-tool-choice: true, tool-call-parser: hermes}}\n"


def with_tools(text: str) -> str:
    """Return the model file with the arguments that an agent needs of its engine."""
    content = yaml.safe_load(text)
    args = content.setdefault("serving", {}).setdefault("args", {})
    for name, value in TOOL_ARGS.items():
        args.setdefault(name, value)
    return yaml.safe_dump(content, sort_keys=False)


def model_with_tools(text: str, path: str = "tiny.yaml") -> ModelSpec:
    return parse_model(with_tools(text), path)

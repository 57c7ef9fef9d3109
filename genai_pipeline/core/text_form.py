"""Texts of a certain form in YAML files. A refusal says the form in words, with an example made from the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

_LONGEST_NAME = 30


@dataclass(frozen=True)
class TextForm:
    """Metadata of a text field: `Annotated[str, TextForm(…)]`.

    Args:
        pattern: regular expression that all of the text must match; the JSON schema has it too.
        words: what is allowed, with `{}` in the place of the example.
        example: makes an example from a wrong text.
    """

    pattern: str
    words: str
    example: Callable[[str], str]

    def check(self, text: str) -> str:
        """Return the text. Raises ValueError: it has another form."""
        if re.fullmatch(self.pattern, text):
            return text
        raise ValueError("must be " + self.words.format(self.example(text)))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}


def model_name(text: str) -> str:
    """Return a name of a model that is close to the text, as qwen2-5-7b for Qwen2.5-7B."""
    return _dashed(text)[:_LONGEST_NAME].strip("-") or "qwen2-5-7b"


def repository(text: str) -> str:
    """Return `owner/name` for an address of a hub, a name without its owner, or a misspelt one."""
    path = re.sub(r"^\w+://((www\.)?(huggingface\.co|hf\.co)/)?|^(www\.)?(huggingface\.co|hf\.co)/", "", text.strip())
    parts = [part for part in (_joined(one, r"\w.", "-") for one in path.split("/")) if part]
    if not parts:
        return "mistralai/Ministral-3-8B-Instruct-2512"
    return "/".join(parts[:2]) if len(parts) > 1 else f"owner/{parts[0]}"


def address(text: str) -> str:
    """Return the address of a host for a text that has no scheme, or more than a host."""
    host = re.sub(r"^\w*:?//", "", text.strip()).partition("/")[0].rpartition("@")[2]
    scheme = "http" if text.startswith("http:") else "https"
    return f"{scheme}://{_joined(host, 'A-Za-z0-9.:', '-') or 's3.example.com'}"


def constant(example: str) -> Callable[[str], str]:
    """Return a maker of one and the same example, for texts that tell nothing about what was meant."""
    return lambda text: example


def _dashed(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _joined(text: str, allowed: str, by: str) -> str:
    return re.sub(rf"[^{allowed}-]+", by, text).strip(by)


MODEL_NAME = TextForm(
    r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", "lower-case letters, digits and dashes, at most 30: {}", model_name
)
REPOSITORY = TextForm(r"[\w.-]+/[\w.-]+", "owner/name, as {}", repository)
REGION = TextForm(r"[a-z0-9-]+", "a region in lower-case letters, digits and dashes, as {}", constant("eu-west-1"))
HOST_ADDRESS = TextForm(r"https?://[^/\s]+", "the address of a host without a path, as {}", address)
API_ADDRESS = TextForm(
    r"https?://[^\s@]+",
    "an address without a user or a password, as {}",
    lambda text: f"{address(text)}/v1",
)
CASE_NAME = TextForm(
    r"[a-z0-9]+(-[a-z0-9]+)*",
    "lower-case letters and digits, with single dashes: {}",
    lambda text: _dashed(text) or "a-case",
)
SUITE_NAME = TextForm(
    r"[a-z0-9][a-z0-9_-]*",
    "lower-case letters, digits, dashes and underscores: {}",
    lambda text: _dashed(text) or "a-suite",
)
TOOL_NAME = TextForm(
    r"[a-zA-Z0-9_-]{1,64}",
    "letters, digits, dashes and underscores, at most 64: {}",
    lambda text: _joined(text, r"A-Za-z0-9_", "_")[:64] or "get_weather",
)
RESERVATION = TextForm(r"cr-[0-9a-f]+", "the id of a reservation, as {}", constant("cr-0123456789abcdef0"))
ACCOUNT = TextForm(r"\d{12}", "the 12 digits of an AWS account, in quotes, as {}", constant("123456789012"))
SERVED_NAME = TextForm(
    r"[^\s@-][^\s@]*",
    "a name without spaces and @ that starts with no dash, as {}",
    lambda text: _joined(text, r"\w./:", "-").lstrip("-") or "gpt-4o",
)
_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"(?=[^/]{1,253}(/|$))[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
LABEL_KEY = TextForm(
    rf"({_DOMAIN}/)?{_NAME}", "the key of a label, with or without a domain, as {}", constant("nvidia.com/gpu.product")
)
"""Source: Kubernetes documentation, "Labels and Selectors: syntax and character set"."""
LABEL_VALUE = TextForm(
    rf"({_NAME})?",
    "the value of a label, at most 63 letters, digits, dashes, underscores and dots, as {}",
    lambda text: _joined(text, r"A-Za-z0-9_.", "-")[:63].strip("-_.") or "NVIDIA-L4",
)
RESOURCE = TextForm(
    rf"(?!requests\.)(?!.*kubernetes\.io/){_DOMAIN}/{_NAME}",
    "a resource of a device plugin with its domain, as {}",
    constant("nvidia.com/gpu"),
)
"""Source: Kubernetes documentation, "Resource Management for Pods and Containers: Extended resources"."""
CLASS_NAME = TextForm(
    _DOMAIN, "the name of a RuntimeClass in lower-case letters, digits, dashes and dots, as {}", constant("nvidia")
)

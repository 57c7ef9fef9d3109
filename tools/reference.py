"""Write docs/model-file.md from the fields of a model file and their descriptions.

python tools/reference.py          writes the page
python tools/reference.py --check  fails when the page is not current
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genai_pipeline.core.engine_flags import tables
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.owned_args import ONLY, OWNED
from genai_pipeline.core.profile import LOCAL_PORTS, SETTINGS

UNIONS = ("anyOf", "oneOf", "allOf")
DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# The model file

<!-- Written by `make reference` from the descriptions in genai_pipeline/core/*_spec.py and core/gates.py. -->

One file `models/<name>.yaml` (or `.yml`) describes one model and is one graph in Dagster.
`GENAI_MODELS` names another folder.
A wrong file is reported with file, line, field and remedy; it does not stop the other models.
Only `name` and `source` are required. A chat model also needs `agent: none`, or the two arguments of [Tasks](#tasks).
An example with comments: [models/weather.yaml](../models/weather.yaml).
How to write your first one: [first-model.md](first-model.md).
"""

MODEL_FILE_TAIL = """
## Tasks

`task` says what the model is for. A release proves what its task and its agent ask of it, and nothing else.

| `task` | what it is | agent |
|---|---|---|
| `chat` | answers conversations, at `/v1/chat/completions` | yes; `agent: none` switches it off |
| `completion` | continues text, at `/v1/completions` | no |
| `embed` | turns text into vectors, at `/v1/embeddings` | no |
| `score` | says how well texts fit a query, at `/score` | no |

- An agent sends its tools with every request. So the engine needs `enable-auto-tool-choice` and `tool-call-parser`.
  A chat model that was not trained for tools is served with `agent: none`.
- Without an agent there are no `agent_candidate` and `agent_report`, no agent address and no scheduled evaluation.
  `tool_call_parsed` is asked where there is an agent or a tool-call parser.
- `embed` and `score` generate no tokens, so no check is about tokens one after another.
  [tasks.md](tasks.md) has the checks and gates of each task.
- What does not apply is shown as *not applicable* with its reason, in `genai status` and at `m/live`. It never passes.
- What contradicts the task is refused when the file is read: gates of an agent that is not there, the wrong `runner`.
- A change of `task`, or between an agent and none, is a new release, because it changes what must be proven.

## Arguments of the engine

`serving.args` takes the arguments of vLLM's server by name, without `--`. Dashes and underscores are the same.
They are judged when the file is read, by tables of the vLLM versions {versions}.
vLLM documents them on its page Engine Arguments.

| in the file | on the command line |
|---|---|
| `enforce-eager: true` | `--enforce-eager` |
| `enable-prefix-caching: false` | `--no-enable-prefix-caching` |
| `max-model-len: 128k` | `--max-model-len=128k` |
| `cudagraph-capture-sizes: [1, 2, 4]` | `--cudagraph-capture-sizes 1 2 4` |
| `lora-modules: [sql=/adapters/sql]` | `--lora-modules sql=/adapters/sql` |
| `middleware: [a.B, c.D]` | `--middleware=a.B --middleware=c.D` |
| `hf-overrides: {{rope_theta: 10000}}` | `--hf-overrides={{"rope_theta": 10000}}` |
| `compilation-config.cudagraph_mode: FULL` | `--compilation-config.cudagraph_mode=FULL` |

- The pipeline gives `load-format`, `shutdown-timeout`, `attention-backend` on some [GPUs](gpu.md#defaults), and
  `dtype` on some laptops. Your value is stronger. `false` leaves them to vLLM.
- `tensor-parallel-size` is set so that all GPUs of `serving.gpu.count` are used, unless you set it. Together with
  `pipeline-parallel-size`, `data-parallel-size` and `prefill-context-parallel-size` it must use exactly these GPUs.
- Values that look like credentials are refused, also addresses with a password. Everyone who may read a Deployment
  could read them.
- Engines ask no hub, so names of repositories are refused, however deep they stand.
- `tokenizer`, `spec-model` and the `model` of `speculative-config` take an absolute path of the image, or a staged
  revision `s3://bucket/models/<name>/<revision>/`: see [staging.md](staging.md#drafts-and-tokenizers).
- `lora-modules`, `default-mm-loras`, `hf-config-path` and `generation-config` take an absolute path only, because
  vLLM does not read them from S3. `auto_map` in `hf-overrides` takes code of the model's own repository.
- The arguments below belong to the pipeline.
- An image whose tag names another version of vLLM, or none, may have other arguments. So names, types and choices are
  left to the engine, and `genai doctor` names the arguments that it does not know. All refusals above and below stay.

| refused | why, and what to do |
|---|---|
{owned}
"""

SETTINGS_HEAD = """# Settings

<!-- Written by `make reference` from the descriptions in genai_pipeline/core/profile.py. -->

Environment variables of the process that runs the pipeline: a shell, Dagster's code server, a pod.
An empty variable counts as not set. A wrong value is refused with the variable, the value and what is allowed.
In Dagster the resource `profile` shows every setting.

| variable | default | what it is |
|---|---|---|
"""
SETTINGS_TAIL = """
## Of the code location

| variable | default | what it is |
|---|---|---|
| `GENAI_MODELS` | `models/` | Folder of the model files. |
| `GENAI_USER` | user@host | Name that a record gives to a person who runs a command. |
| `KUBECONFIG` | the pod's own account, then `~/.kube/config` | The cluster of the profiles `kubernetes` and `eks`. |

## Ports of the laptop

Without a value a taken port is replaced by a free one, which is printed.

| variable | default |
|---|---|
PORTS
## Secrets

They are read where they are used. They are never part of a Dagster resource, a run, a record or a log.

| variable | what it is |
|---|---|
| `HF_TOKEN` | Token of the hub, for gated and private repositories. |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` | Keys of S3. Other sources of the AWS SDK work, too. |
| `GENAI_WEBHOOK_URL` | Address that notices are posted to, in Slack's form. |
| `GENAI_ALERT_WEBHOOK` | Address that the Alertmanager of one machine sends alerts to, in Alertmanager's form. |
| `AGENT_API_KEYS` | Keys of the callers of agents, separated by commas. The pipeline uses the first one. |
| `JUDGE_API_KEY` | Key of the model that judges free text. |

The settings of the agent's own process are in [Agent](agent.md#settings).
"""


def main() -> int:
    pages = {
        "model-file.md": HEAD + "\n" + "\n".join(_sections(ModelSpec.model_json_schema(by_alias=True))) + _arguments(),
        "settings.md": SETTINGS_HEAD + "".join(_settings()) + SETTINGS_TAIL.replace("PORTS", _ports()),
    }
    if "--check" not in sys.argv:
        for name, page in pages.items():
            (DOCS / name).write_text(page)
        return 0
    old = [name for name, page in pages.items() if not (DOCS / name).exists() or (DOCS / name).read_text() != page]
    if old:
        print(f"{', '.join(old)}: not current. Run `make reference`, and commit the pages.", file=sys.stderr)
    return 1 if old else 0


def _arguments() -> str:
    versions = " and ".join(".".join(table.version.split(".")[:2]) for table in tables())
    names = {remedy: [f"`{name}`" for name in sorted(OWNED) if OWNED[name] == remedy] for remedy in OWNED.values()}
    rows = [f"| {', '.join(of)} | {remedy} |" for remedy, of in names.items()]
    only = [f"| other values of `{name}` than {' and '.join(ok)} | {why} |" for name, (ok, why) in ONLY.items()]
    return MODEL_FILE_TAIL.format(versions=versions, owned="\n".join([*rows, *only]))


def _ports() -> str:
    return "".join(f"| `GENAI_{name.upper()}_PORT` | `{port}` |\n" for name, port in LOCAL_PORTS.items())


def _settings() -> Iterator[str]:
    for setting in SETTINGS:
        yield f"| `{setting.variable}` | {setting.default} | {_plain(setting.description)} |\n"


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _section("The file", schema, schema["$defs"])
    for name, field in schema["properties"].items():
        if section := _inner(field, schema["$defs"]):
            yield from _with_subsections(name, section, schema["$defs"])


def _with_subsections(path: str, section: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    yield from _section(f"`{path}`", section, known)
    for name, field in section["properties"].items():
        if inner := _inner(field, known):
            yield from _with_subsections(f"{path}.{name}", inner, known)


def _section(title: str, section: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    required = section.get("required", ())
    yield f"## {title}\n\n{_plain(section.get('description', '')).split(' Source: ')[0]}\n"
    yield "| field | values | default | what it does |\n|---|---|---|---|"
    for name, field in section["properties"].items():
        default = "required" if name in required else _default(field, known)
        yield f"| `{name}` | {_values(field, known)} | {default} | {_described(name, field, known)} |"
    yield ""


def _inner(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the section that a field holds, also inside a list or beside null."""
    choices = [field, field.get("items", {}), *(choice for key in UNIONS for choice in field.get(key, ()))]
    named = (_named(choice, known) for choice in choices if "$ref" in choice)
    return next((found for found in named if "properties" in found), None)


def _named(field: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a reference stands for: a section, or a list of values."""
    return known[field["$ref"].rpartition("/")[2]]


def _described(name: str, field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    inner = _inner(field, known)
    return _plain(field.get("description") or (inner or {}).get("description", "")).split(" Source: ")[0]


def _default(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    value = field.get("default")
    if _inner(field, known) or value in (None, [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(map(str, value)) if isinstance(value, list) else value}`"


def _values(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    union = next((field[key] for key in UNIONS if key in field), (field,))
    choices = [choice for choice in union if choice.get("type") != "null"]
    said = [_kind(choice, known) for choice in choices]
    return " or ".join(dict.fromkeys(said)) if len(said) < 4 else "any YAML value"


def _kind(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if values := field.get("enum") or ([field["const"]] if "const" in field else None):
        return ", ".join(f"`{value}`" for value in values)
    if "$ref" in field:
        named = _named(field, known)
        return _kind(named, known) if "enum" in named else "section"
    kind = field.get("type")
    if kind == "array":
        return f"list of {_kind(field.get('items', {}), known)}".replace("of section", "of sections")
    if kind == "object":
        return "mapping"
    if kind in ("integer", "number"):
        return f"{kind}{_bounds(field)}"
    return {"boolean": "`true`, `false`", "string": "text"}.get(str(kind), "text")


def _bounds(field: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {field[bound]:g}" for bound, sign in words.items() if bound in field]
    return f" {', '.join(said)}" if said else ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())

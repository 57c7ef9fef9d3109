"""Judge `serving.args` of a model file, and render them. Both ask the same tables, so that they agree. Pure.

The image's version decides how much is judged. An image of a version that the tables have is judged in full.
Of any other image only what the pipeline itself needs is judged. The rest is left to the engine's own parser, and
`unjudged` names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from genai_pipeline.core.credentials import REMEDY, WHY, secret_in, variable_is_secret
from genai_pipeline.core.did_you_mean import closest, suggestion
from genai_pipeline.core.engine_flags import Flag, FlagTable, judging_table, spelt, table_of, tables
from genai_pipeline.core.engine_values import allowed, rendered, rendered_key, rendered_unknown, why_wrong
from genai_pipeline.core.gone_args import GONE
from genai_pipeline.core.model_spec import ModelSpec, Serving
from genai_pipeline.core.named_repositories import named_repositories, staged_drafts
from genai_pipeline.core.owned_args import OUR_DEFAULTS, OWNED, OWNED_VARIABLES, why_owned

Place = tuple[str | int, ...]

TENSOR_PARALLEL = "tensor-parallel-size"
EXECUTOR = "distributed-executor-backend"
PARALLEL = (TENSOR_PARALLEL, "pipeline-parallel-size", "data-parallel-size", "prefill-context-parallel-size")
"""The sizes whose product is the number of GPUs of one replica.

Source: vLLM documentation, "Parallelism and Scaling", and its ParallelConfig.
"""
_OVER_WORKERS = {"vllm": "", "ray": " With engine ray a multiple of count is spread over several workers."}
_MOST_VALUE = 60
PREFETCHABLE = (None, False, "auto", "runai_streamer")
"""Values of `load-format` with which vLLM asks for its loader `runai_streamer`."""
PREFETCH_PLUGIN = "genai_prefetch"
"""Name of the entry point in `k8s/prefetch_dist_info`."""


def problems(spec: ModelSpec) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with the names, variables and arguments of a model's engine.

    Args:
        spec: the model, as its file has it.
    Returns: The place of each mistake, and what is wrong with what to do.
    """
    serving, names = spec.serving, (spec.name, *spec.serving.served_names)
    for at, name in enumerate(serving.served_names):
        if name in names[: at + 1]:
            yield ("serving", "served_names", at), f"the engine has the name {name!r} already. Remove it."
    for name, value in serving.env.items():
        if name in OWNED_VARIABLES:
            yield ("serving", "env", name), f"belongs to the pipeline. {OWNED_VARIABLES[name]}"
        elif isinstance(value, str) and variable_is_secret(name, value):
            yield ("serving", "env", name), f"{WHY}. {REMEDY}"
    table = judging_table(serving.image)
    seen: set[str] = set()
    for written, value in serving.args.items():
        place = ("serving", "args", written)
        found = _problem(written, value, table) or _given_twice(_canonical(written, table), seen)
        if found:
            yield place, found
        for named in named_repositories(spelt(written), value):
            yield (*place, *named.place), f"{named.name[:_MOST_VALUE]!r} is not staged. {named.remedy}"
    yield from _wrong_product(serving)
    # The draft is loaded as the model is (`get_draft_load_config` of vLLM 0.32), and vLLM's own loader reads no S3.
    for written, draft in staged_drafts(serving.args) if serving.weights == "mount" else ():
        yield (
            ("serving", "args", written),
            f"with `serving.weights: mount` vLLM cannot load the draft {draft} from S3. Set `serving.weights: stream`, "
            "or bake the draft into the image and write its absolute path.",
        )
    yield from _against_prefetch(serving)


def _against_prefetch(serving: Serving) -> Iterator[tuple[Place, str]]:
    if serving.weights != "prefetch":
        return
    if given(serving, "load-format") not in PREFETCHABLE:
        written = next(name for name in serving.args if spelt(name) == "load-format")
        yield (
            ("serving", "args", written),
            "`serving.weights: prefetch` loads whole safetensors files. Remove it, or set `serving.weights: stream`.",
        )
    plugins = serving.env.get("VLLM_PLUGINS")
    if isinstance(plugins, str) and PREFETCH_PLUGIN not in plugins.split(","):
        yield (
            ("serving", "env", "VLLM_PLUGINS"),
            f"`serving.weights: prefetch` loads by the plugin {PREFETCH_PLUGIN}, and vLLM loads only what this names. "
            f"Add {PREFETCH_PLUGIN} to it, or remove it.",
        )


def unjudged(serving: Serving) -> list[str]:
    """Return the arguments that no table knows, of an image whose version no table has."""
    newest = tables()[-1]
    if judging_table(serving.image):
        return []
    return [name for name in serving.args if newest.find(spelt(name).partition(".")[0]) is None]


def missing_in(serving: Serving, version: str) -> list[str]:
    """Return the arguments that a version of vLLM lacks, or an empty list where no table has that version."""
    table = table_of(version)
    return [name for name in serving.args if table and table.find(spelt(name).partition(".")[0]) is None]


def command_line(args: Mapping[str, Any], image: str) -> list[str]:
    """Return arguments as vLLM's parser reads them, by name.

    Args:
        args: arguments as a model file has them.
        image: the engine's image, whose version says which forms there are.
    """
    table = judging_table(image) or tables()[-1]
    parts = {spelt(name): _rendered(spelt(name), value, table) for name, value in args.items()}
    return [part for _, found in sorted(parts.items()) for part in found]


def given(serving: Serving, name: str) -> Any:
    """Return the value of an argument, however its name is spelt, or None where the model file does not give it."""
    return next((value for written, value in serving.args.items() if spelt(written) == name), None)


def tensor_parallel_size(serving: Serving) -> int | None:
    """Return the size that uses every GPU of a replica, where the model file leaves it open, or None for one GPU."""
    count = serving.gpu.count if serving.gpu else 1
    others = prod(_size(serving, name) for name in PARALLEL[1:])
    if count == 1 or given(serving, TENSOR_PARALLEL) is not None or count % others:
        return None
    return count // others if count > others else None


def world_size(serving: Serving) -> int:
    """Return the number of GPUs of one replica, which may be on several nodes with Ray; 1 without a GPU."""
    if not serving.gpu:
        return 1
    return max(serving.gpu.count, prod(_size(serving, name) for name in PARALLEL))


def workers_per_replica(serving: Serving) -> int:
    """Return how many pods hold one replica. `serving.gpu.count` is what one of them has."""
    return -(-world_size(serving) // serving.gpu.count) if serving.gpu and serving.engine == "ray" else 1


def executor_backend(serving: Serving) -> str | None:
    """Return how the parts of an engine within Ray reach each other; None leaves it to vLLM."""
    if serving.engine != "ray" or world_size(serving) == 1:
        return None
    return "ray" if workers_per_replica(serving) > 1 else "mp"


def _problem(written: str, value: Any, table: FlagTable | None) -> str:
    """Return what is wrong with one argument, or an empty text."""
    head, _, keys = spelt(written).partition(".")
    found = (table or tables()[-1]).find(head)
    flag, negated = found or (Flag(head), False)
    if flag.kind == "set" and value is False:
        return ""
    if secret_in(written, value):
        return f"{WHY}. {OWNED.get(flag.name, REMEDY)}"
    if owned := why_owned(flag.name, value):
        return owned
    if table is None or (value is False and flag.name in OUR_DEFAULTS):
        return ""
    if found is None:
        return _unknown(head, table)
    if keys:
        return "" if flag.is_json else f"{flag.name} has no keys: it takes {allowed(flag)}. Leave `.{keys}` out."
    if negated and value is False:
        return f"is switched off twice. Write `{flag.name}: true`."
    return why_wrong(flag, value)


def _unknown(name: str, table: FlagTable) -> str:
    bare = name.lstrip("-")
    if remedy := GONE.get(bare.removeprefix("no-")):
        return f"vLLM {table.version} has no argument of this name any more. {remedy}"
    meant = bare if table.find(bare) else table.long_form(bare) or closest(bare, table.names)
    remedy = f"Did you mean `{meant}`?" if meant else suggestion(bare, table.names)
    return f"vLLM {table.version} has no argument of this name. {remedy}"


def _canonical(written: str, table: FlagTable | None) -> str:
    head, dot, keys = spelt(written).partition(".")
    found = (table or tables()[-1]).find(head)
    return (found[0].name if found else head) + dot + keys


def _given_twice(name: str, seen: set[str]) -> str:
    clashes = name in seen or name.partition(".")[0] in seen or any(one.startswith(f"{name}.") for one in seen)
    seen.add(name)
    return f"{name} is given twice. Keep one." if clashes else ""


def _wrong_product(serving: Serving) -> Iterator[tuple[Place, str]]:
    """Yield the sizes of parallel parts where their product is not the number of GPUs."""
    sizes = {name: _size(serving, name) for name in PARALLEL if given(serving, name) is not None}
    if not (serving.gpu and sizes):
        return
    count, product = serving.gpu.count, prod(sizes.values())
    if serving.engine == "ray" and product % count == 0 and product > count:
        return  # on several workers, each with `count`
    if product == count or (TENSOR_PARALLEL not in sizes and product < count and count % product == 0):
        return
    written = next(name for name in serving.args if spelt(name) in sizes)
    told = " × ".join(f"{name} {size}" for name, size in sizes.items())
    yield (
        ("serving", "args", written),
        f"{told} needs {product} GPUs, and serving.gpu.count is {count}. Set count to {product}, or change the sizes: "
        f"without {TENSOR_PARALLEL} the pipeline sets the one that uses every GPU.{_OVER_WORKERS[serving.engine]}",
    )


def _size(serving: Serving, name: str) -> int:
    """Return a size of parallel parts. What is no integer counts as one, because it is reported by itself."""
    value = given(serving, name)
    return int(value) if isinstance(value, int | str) and str(value).isdigit() and int(value) > 0 else 1


def _rendered(name: str, value: Any, table: FlagTable) -> list[str]:
    if "." in name:
        return rendered_key(name, value)
    if value is False and name in OUR_DEFAULTS:
        return []
    found = table.find(name)
    return rendered(found[0], value, found[1]) if found else rendered_unknown(name, value)

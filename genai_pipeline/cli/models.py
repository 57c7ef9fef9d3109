"""Commands about models: what they look like in the cluster, and a new revision of the demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genai_pipeline.cli.context import Command, Context, require_local

if TYPE_CHECKING:
    from genai_pipeline.core.model_spec import ModelSpec
    from genai_pipeline.core.profile import Profile
    from genai_pipeline.core.source_spec import Source
    from genai_pipeline.resources.engines import Engines


def announce(command: Command) -> None:
    render = command("render", _render, "write the Kubernetes objects of a model as YAML")
    render.add_argument("model", nargs="?", help="default: every model")
    render.add_argument("--revision", help="commit of the model; default: what its ref stands for now")
    render.add_argument("--out", type=Path, help="folder for one file per object and a kustomization; default: stdout")
    render.add_argument("--rbac", action="store_true", help="the pipeline's own account and Role, for an administrator")
    render.add_argument("--observability", action="store_true", help="dashboards, rules, monitors and the exporter")
    render.add_argument("--rules", action="store_true", help="the rules alone, as one file of Prometheus or of AMP")
    publish = command("publish", _publish, "publish a revision of the demo model on the embedded hub")
    publish.add_argument("revision", help="for example v2")
    publish.add_argument("--model", help="default: the one model")
    broken = command("break", _break, "make the live release of the demo misbehave, to see it rolled back")
    broken.add_argument("model")
    broken.add_argument("--with", dest="fault", choices=("errors", "latency", "wrong", "crash"), default="errors")
    command("mend", _mend, "repair what `genai break` broke").add_argument("model")


def _render(context: Context) -> int:
    from genai_pipeline.cli.manifests import as_yaml, rbac_objects, rendered, watched, write_objects
    from genai_pipeline.core.release import Release

    engines = context.engines()
    profile = engines.profile
    if context.args.rbac:
        folders = rbac_objects(profile)
    else:
        specs = context.valid_models(context.args.model, lambda text: print(text, file=sys.stderr))
        if context.args.rules:
            return _write_rules(context, specs, profile)
        if context.args.observability:
            folders = watched(specs, profile)
        else:
            releases = [(s, Release.of(s, _revision(context, s.source, engines))) for s in specs]
            folders = rendered(releases, profile)
    if context.args.out is None:
        sys.stdout.write(as_yaml([o for _, objects in folders for o in objects]))
    else:
        for file in write_objects(folders, context.args.out):
            context.say(str(file))
    return 0


def _write_rules(context: Context, specs: list[ModelSpec], profile: Profile) -> int:
    from genai_pipeline.cli.manifests import rule_file

    text, out = rule_file(specs, profile), context.args.out
    if out is None:
        sys.stdout.write(text)
        return 0
    out.mkdir(parents=True, exist_ok=True)
    (out / "rules.yaml").write_text(text)
    context.say(str(out / "rules.yaml"))
    return 0


def _revision(context: Context, source: Source, engines: Engines) -> str:
    from genai_pipeline.core.errors import Unavailable

    if context.args.revision:
        return context.args.revision
    try:
        return engines.gateways.source(source).resolve(source.address, source.ref)
    except Unavailable as error:
        begin = "Run `genai up`" if context.profile.name == "local" else "Check HF_ENDPOINT and the network"
        raise Unavailable(error.what, f"{begin}, or name the commit with --revision.") from error


def _publish(context: Context) -> int:
    from genai_pipeline.local.hub.publish import publish

    require_local(context, "publish")
    specs = context.valid_models(context.args.model, context.say)
    for line in publish(context.profile, specs, context.args.revision):
        context.say(line)
    return 0


def _break(context: Context) -> int:
    from genai_pipeline.local.breaking import break_live

    require_local(context, "break")
    (spec,) = context.valid_models(context.args.model, context.say)
    live = context.engines().records().live(spec.name)
    for line in break_live(context.profile, spec, live, context.args.fault):
        context.say(line)
    return 0


def _mend(context: Context) -> int:
    from genai_pipeline.local.breaking import mend

    require_local(context, "mend")
    for line in mend(context.profile, context.args.model):
        context.say(line)
    return 0

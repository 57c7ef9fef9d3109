"""`genai break` and `genai mend`: the demo's fault switch, to see a live release rolled back.

The engine of the demo model looks for the file itself (demo/fault_switch.py); the pipeline knows nothing of it.
"""

from __future__ import annotations

from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Live

FAULTS = {
    "errors": "completions answer 500, while /health is fine",
    "latency": "every completion takes eight seconds longer",
    "wrong": "the model is offered no tools, so that the agent makes its answers up",
    "crash": "the engine ends at every completion",
}
GUARDED = frozenset({"errors", "crash"})
"""What is also acted on after the watch."""
MIDDLEWARE = "demo.fault_switch.FaultSwitch"


def break_live(profile: Profile, spec: ModelSpec, live: Live | None, fault: str) -> list[str]:
    """Let the live release of a model misbehave from now on; says what will happen.

    Raises: NotFound: nothing is live. Refused: its engine has no fault switch.
    """
    if live is None:
        raise NotFound(f"{spec.name} has no live release to break.", "Run `genai up`.")
    if spec.serving.args.get("middleware") != MIDDLEWARE:
        raise Refused(
            f"The engine of {spec.name} has no fault switch.", f"Set serving.args.middleware to {MIDDLEWARE}: a demo."
        )
    folder = profile.home / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{spec.name}@{live.release}").write_text(fault)
    told = [f"{spec.name}@{live.release} misbehaves from now on: {FAULTS[fault]}."]
    if live.watched_until and live.last_good:
        return [*told, f"It is watched until {live.watched_until}: it goes back to {live.last_good} by itself."]
    if live.last_good and spec.rollout.guard and fault in GUARDED:
        return [
            *told,
            f"Its watch is over, so it is only guarded: within two minutes {live.last_good} is started again.",
        ]
    if live.last_good is None:
        return [*told, f"There is no last good release to go back to, so it stays: `genai mend {spec.name}` ends it."]
    return [
        *told,
        "It is not being watched any more, so it stays: "
        f"`genai mend {spec.name}` ends it, `genai rollback {spec.name}` goes back.",
    ]


def mend(profile: Profile, model: str) -> list[str]:
    """Switch every fault of a model off. Idempotent."""
    files = sorted((profile.home / "faults").glob(f"{model}@*"))
    for file in files:
        file.unlink(missing_ok=True)
    return [f"{file.name} behaves again." for file in files] or [f"{model} had no fault."]

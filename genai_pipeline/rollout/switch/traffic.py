"""Read and move user traffic: the selectors of the stable Services."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from genai_pipeline.core.errors import NotFound, Refused, Unavailable
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Live
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.k8s.render import (
    MANAGED_BY,
    PORTS,
    RELEASE_LABEL,
    components_of,
    loaded_from,
    release_alias,
    render_guards,
    render_stable,
    stable_name,
)
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.settling import pause, why_unsettled

SETTLE_DEADLINE_S = 15.0
SETTLE_POLL_S = 0.05
AGREEING_ANSWERS = 3
_AGREEMENT_TRIES = 5


class Traffic:
    """Read and move the traffic of a model."""

    def __init__(self, gateways: Gateways, profile: Profile, sleep: Callable[[float], None] = pause) -> None:
        self._gateways = gateways
        self._cluster = gateways.cluster
        self._profile = profile
        self._sleep = sleep

    def on(self, model: str, component: str = "engine") -> str | None:
        """Return the id of the release that has the traffic; None before the first one."""
        service = self._cluster.get("Service", stable_name(model, component))
        return (service or {}).get("spec", {}).get("selector", {}).get(RELEASE_LABEL)

    def everywhere(self) -> Mapping[str, str]:
        """Return for each of the pipeline's Services the release behind it, with one request for all models."""
        services = self._cluster.list("Service", MANAGED_BY)
        return {s["metadata"]["name"]: s["spec"].get("selector", {}).get(RELEASE_LABEL, "") for s in services}

    def is_on(self, release: Release) -> bool:
        """Return whether `release` is behind the stable addresses of all that serves it, and there are no others."""
        mine = components_of(release)
        return all(self.on(release.model, each) == (release.id if each in mine else None) for each in PORTS)

    def touches(self, release: Release) -> bool:
        """Return whether any stable address leads to `release`."""
        return any(self.on(release.model, component) == release.id for component in components_of(release))

    def url(self, model: str, component: str = "engine") -> str | None:
        """Return the stable address for requests of this process; None before the first release."""
        try:
            return self._cluster.endpoint(stable_name(model, component))
        except NotFound:
            return None

    def address(self, model: str, component: str = "engine") -> str | None:
        """Return the stable address to show to people; None before the first release."""
        try:
            return self._cluster.address(stable_name(model, component))
        except NotFound:
            return None

    def move(self, release: Release) -> None:
        """Point the stable Services at `release`. New connections follow at once.

        A release without an agent closes the agent's address: behind it would be the agent of another release.
        """
        mine = components_of(release)
        # The engine's comes last: while it leads elsewhere, whatever goes on after a kill sees what is left to do.
        self._cluster.apply([o for c in reversed(mine) for o in render_stable(release, self._profile, c)])
        crash_point("traffic.moved")
        self._close(release.model, [c for c in PORTS if c not in mine])

    def guard(self, release: Release) -> None:
        """Protect the pods that have the traffic from eviction, and no longer those that had it before."""
        self._cluster.apply(render_guards(release, self._profile))

    def close(self, model: str) -> None:
        """Delete the stable Services: they have no release to point at."""
        self._close(model, PORTS)

    def why_not_served_by(self, release: Release) -> str:
        """Ask through the stable addresses until they agree on `release`. Returns: Empty, or why they do not."""
        engine = self.url(release.model) or ""
        agent = (self.url(release.model, "agent") or "") if release.has_agent else None
        return why_unsettled(
            lambda: self._disagreement(release, engine, agent),
            AGREEING_ANSWERS,
            SETTLE_POLL_S,
            SETTLE_DEADLINE_S,
            self._sleep,
        )

    def _close(self, model: str, components: Iterable[str]) -> None:
        for component in components:
            self._cluster.delete("Service", stable_name(model, component))

    def _disagreement(self, release: Release, engine: str, agent: str | None) -> str:
        try:
            inference = self._gateways.inference(engine)
            models = inference.models()
            if release_alias(release) not in models:
                return f"the stable address serves {', '.join(sorted(models))}, not {release_alias(release)}"
            root = loaded_from(self._profile, release)
            if models[release.model] != root:
                return f"the engine loaded {models[release.model]}, not {root}"
            answer = inference.ask(release.task, release_alias(release), max_tokens=8)
            if answer.fault:
                return f"what came through the stable address is no answer: {answer.fault}"
            says = release.id if agent is None else self._gateways.agent(agent).release()
            return "" if says == release.id else f"the stable agent talks to {says}, not {release.id}"
        except (Unavailable, Refused, NotFound) as error:
            return str(error)


def follow_pointer(traffic: Traffic, records: Records, model: str) -> Live | None:
    """Move the selectors to the release that the pointer names, until the two agree. Returns: The pointer.

    A process that moves traffic writes the pointer by compare-and-swap, and calls this if it lost. So two processes
    that move traffic at once end in one state.
    """
    for _ in range(_AGREEMENT_TRIES):
        live = records.live(model)
        if live is None:
            return live
        release = records.require(model, live.release).as_release
        if traffic.is_on(release):
            return live
        traffic.move(release)
    return records.live(model)

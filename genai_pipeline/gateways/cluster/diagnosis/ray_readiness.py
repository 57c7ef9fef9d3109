"""Tells whether a RayService serves, and why it never will. Pure; for both clusters.

Ready means three things: KubeRay's condition Ready, every Serve application RUNNING, and a worker pod that is ready. A
ready pod alone proves nothing, since its proxy answers minutes before the model does. The condition alone does not
either: KubeRay 1.5.1 leaves it as it is while the head cannot be asked.

Source: KubeRay 1.5.1, `rayservice_types.go` and `rayservice_controller.go`; Ray 2.60, `serve/schema.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.ray_causes import applications, message_of, ray_cause
from genai_pipeline.gateways.cluster.diagnosis.readiness import Readiness, keeps_crashing, waits_of
from genai_pipeline.gateways.cluster.pods import is_head, is_ready

SHOWN = 200
CRASHES_MAX = 6
"""Heads and workers that do not start within Ray's 30 s start again. On a busy node they succeed later."""
RUNNING, HEALTHY, UPSCALING, FAILED = "RUNNING", "HEALTHY", "UPSCALING", "DEPLOY_FAILED"


def readiness_of_ray(service: Mapping[str, Any], seen: Evidence) -> Readiness:
    """Return how far a RayService is. Its pods are the heads and workers of its clusters."""
    status, alive = service.get("status") or {}, seen.newest.pods
    heads, workers = [p for p in alive if is_head(p)], [p for p in alive if not is_head(p)]
    said = list(_said(status))
    summary = (
        f"{_how_many(workers)} of {len(workers)} worker pods ready, head {'' if _how_many(heads) else 'not '}ready"
    )
    waiting = [w for pod in alive if not is_ready(pod) for w in waits_of(pod)]
    summary = "; ".join([summary, *(said or ["Ray Serve has not answered yet"]), *sorted(set(waiting))])
    if serves(service) and _how_many(workers):
        return Readiness(True, summary)
    cause = ray_cause(service, seen.newest)
    return Readiness.not_yet(summary, cause, _hopeless(status, alive), _told(status))


def serves(service: Mapping[str, Any]) -> bool:
    """Return whether KubeRay says that the newest generation serves. It may say so of a head that is gone."""
    status = service.get("status") or {}
    observed = status.get("observedGeneration", 0) >= service["metadata"].get("generation", 1)
    running = [app.get("status") == RUNNING for app in applications(status).values()]
    return (
        observed
        and is_ready(service)
        and bool(running)
        and all(running)
        and "deletionTimestamp" not in service["metadata"]
    )


def adds_replicas(service: Mapping[str, Any]) -> bool:
    """Return whether Serve's autoscaler has asked for replicas that do not serve yet."""
    apps = applications(service.get("status") or {}).values()
    states = [state for app in apps for state in (app.get("serveDeploymentStatuses") or {}).values()]
    return any(state.get("status") == UPSCALING for state in states)


def _said(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield what Serve says of its applications, and of the deployments that are not healthy."""
    for name, app in sorted(applications(status).items()):
        yield _sentence(f"application {name}", app)
        for deployment, state in sorted((app.get("serveDeploymentStatuses") or {}).items()):
            if state.get("status") != HEALTHY:
                yield _sentence(f"deployment {deployment}", state)


def _told(status: Mapping[str, Any]) -> str:
    """Return the whole messages of Serve. The last error of a replica is in them, also where its pod has gone."""
    states = [s for app in applications(status).values() for s in (app.get("serveDeploymentStatuses") or {}).values()]
    return "\n".join(message_of(state) for state in [*applications(status).values(), *states] if state.get("message"))


def _sentence(what: str, state: Mapping[str, Any]) -> str:
    lines = [line.strip()[:SHOWN] for line in message_of(state).splitlines() if line.strip()]
    told = " … ".join(lines if len(lines) < 2 else [lines[0], lines[-1]])
    return f"{what} is {state.get('status') or 'unknown'}" + (f": {told}" if told else "")


def _how_many(pods: Sequence[Mapping[str, Any]]) -> int:
    return sum(is_ready(pod) for pod in pods)


def _hopeless(status: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    for name, app in applications(status).items():
        if app.get("status") == FAILED:
            return f"Ray Serve gave up on application {name}"
    return keeps_crashing(pods, CRASHES_MAX)

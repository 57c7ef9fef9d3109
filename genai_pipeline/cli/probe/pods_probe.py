"""Puts the questions of `genai doctor --probe` together, asks them at once, and returns the findings."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genai_pipeline.cli.access_doctor import ROLE_REMEDY
from genai_pipeline.cli.doctor import Finding
from genai_pipeline.cli.probe import image_probe, reach_probe
from genai_pipeline.cli.probe.image_probe import ImageUse, image_finding, image_uses, nodes_for, placed
from genai_pipeline.cli.probe.probe_jobs import LABELS, ProbeJobs, Seen
from genai_pipeline.cli.probe.reach_probe import Reach, lacks_keys, reach_findings, reaches
from genai_pipeline.core.errors import AccessDenied, GenaiError
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.pods import Object
from genai_pipeline.k8s.agent import image_name
from genai_pipeline.k8s.render import render_store_access
from genai_pipeline.k8s.templating import MANAGED_BY, render_template

AFTER_S = 30
"""From our deadline to that of the Jobs, which only ends what we did not remove."""


def probe_findings(
    profile: Profile, models: Path, gateways: Gateways, jobs: ProbeJobs, say: Callable[[str], None]
) -> list[Finding]:
    """Ask by pods whether the nodes have the images, and what pods reach. Nothing is left behind."""
    specs = read_models(models).specs
    try:
        return list(_Probe(profile, gateways, jobs, say).findings(specs))
    except AccessDenied as error:
        return [Finding("fail", error.what, ROLE_REMEDY)]
    except GenaiError as error:
        return [Finding("fail", error.what, error.remedy)]


@dataclass(frozen=True)
class _Probe:
    profile: Profile
    gateways: Gateways
    jobs: ProbeJobs
    say: Callable[[str], None]

    def findings(self, specs: Sequence[ModelSpec]) -> Iterator[Finding]:
        self.gateways.cluster.knows("Namespace")  # the doctor's own first question: so a silent API is reported once
        uses, nodes = image_uses(specs, self.profile), self.gateways.cluster.list("Node")
        on, nowhere = placed(uses, nodes)
        images = {self._name("image"): where for where in on}
        asks_hub = any(spec.source.kind == "hub" for spec in specs)
        asked, unplaced = self._placed(reaches(uses, self.profile, asks_hub), nodes)
        made = [self._image_job(name, on[where], where[1]) for name, where in images.items()]
        made += [self._reach_job(name, reach, node) for name, (reach, node) in asked.items()]
        if made:
            self.say(f"{len(made)} short-lived pods in namespace {self.profile.namespace} …")
        seen = self.jobs.run(made, lambda name, one: _is_answered(name in images, one)) if made else {}
        yield from nowhere
        for name, where in images.items():
            yield image_finding(on[where], where[1], seen[name], self.jobs.deadline_s)
        yield from unplaced
        seen |= self._with_secret(asked, seen)
        for name, (reach, node) in asked.items():
            yield from reach_findings(reach, image_name(self.profile), node, seen[name], self.profile)

    def _placed(
        self, questions: Sequence[Reach], nodes: Sequence[Object]
    ) -> tuple[dict[str, tuple[Reach, str]], list[Finding]]:
        """Return name -> question and node. Where no node of its own runs yet, any other one has to do."""
        asked: dict[str, tuple[Reach, str]] = {}
        found = {reach.component: nodes_for(reach.pod, nodes) for reach in questions}
        spare = next((names[0] for names, _ in found.values() if names), "")
        unplaced: list[Finding] = []
        for reach in questions:
            names, why = found[reach.component]
            if node := names[0] if names else spare:
                asked[self._name(reach.component)] = (reach, node)
            else:
                unplaced.append(Finding("warn", f"{reach.who}: what their pods reach was not tried: {why}"))
        return asked, unplaced

    def _with_secret(self, asked: Mapping[str, tuple[Reach, str]], seen: Mapping[str, Seen]) -> dict[str, Seen]:
        """Write the Secret that the first rollout writes, where pods found none, and ask those again."""
        keys, endpoint = self.gateways.store_keys, self.profile.s3_endpoint
        again = {
            name: self._reach_job(name, reach, node)
            for name, (reach, node) in asked.items()
            if reach.secret == "store-access" and lacks_keys(reach, seen[name])
        }
        if not (again and keys and endpoint):
            return {}
        self.gateways.cluster.apply(render_store_access(self.profile, keys.key_id, keys.secret))
        return self.jobs.run(list(again.values()), lambda _, one: reach_probe.is_answered(one))

    def _name(self, about: str) -> str:
        return f"genai-doctor-{about}-{secrets.token_hex(3)}"

    def _image_job(self, name: str, use: ImageUse, node: str) -> Object:
        return self._job(
            name, node, use.pod, {}, image=use.image, command=list(image_probe.COMMAND), env=[], env_from=[]
        )

    def _reach_job(self, name: str, reach: Reach, node: str) -> Object:
        labels = {"app.kubernetes.io/component": reach.component, **MANAGED_BY}
        keys = [{"secretRef": {"name": reach.secret, "optional": True}}] if reach.secret else []
        given = {
            "image": image_name(self.profile),
            "command": reach_probe.command(),
            "env": reach.env,
            "env_from": keys,
        }
        return self._job(name, node, reach.pod, labels, **given)

    def _job(self, name: str, node: str, pod: Object, labels: Mapping[str, str], **container: Any) -> Object:
        return probe_job(self.profile, name, node, pod, labels, int(self.jobs.deadline_s) + AFTER_S, **container)


def probe_job(
    profile: Profile, name: str, node: str, pod: Object, labels: Mapping[str, str], deadline_s: int, **container: Any
) -> Object:
    """Return the Job of one question.

    Args:
        pod: the spec of the pods that it asks for; the Job has their account, their tolerations and the like.
        labels: of its pod, besides those of every probe.
        container: image, command, env, env_from.
    """
    pod_labels = {"app.kubernetes.io/name": "genai-doctor", **LABELS, **labels}
    lasting = [t for t in pod.get("tolerations") or [] if t.get("effect") in (None, "NoExecute")]
    values = {"name": name, "node": node, "pod": pod, "pod_labels": pod_labels, "tolerations": lasting}
    values |= {"deadline_s": deadline_s}
    return render_template("doctor_job.yaml", profile, **values, **container)[0]


def _is_answered(is_image: bool, seen: Seen) -> bool:
    return image_probe.is_answered(seen) if is_image else reach_probe.is_answered(seen)

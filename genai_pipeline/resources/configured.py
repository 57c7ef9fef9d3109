"""The Dagster resources: the settings, a gateway each, and the engines that are built from them.

Credentials are in none of them: gateways read those from the environment or from AWS's own chain.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from genai_pipeline.core.model_file import ModelFiles, read_models
from genai_pipeline.core.profile import SETTINGS, Profile, Setting, given_by
from genai_pipeline.core.source_spec import Source
from genai_pipeline.gateways import Gateways, source_gateway
from genai_pipeline.gateways.agent.abc import AgentEndpoint
from genai_pipeline.gateways.aws.abc import Aws
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.inference.abc import Inference
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.gateways.webhook.abc import Webhook
from genai_pipeline.resources.engines import Engines
from genai_pipeline.resources.real_gateways import gateways_for
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records

_FIELDS: dict[str, Any] = {
    setting.field: (
        int | None if setting.is_number else str | None,
        Field(None, description=f"{setting.description} `{setting.variable}`; default: {setting.default}."),
    )
    for setting in SETTINGS
}
_Settings = create_model("_Settings", __base__=dg.ConfigurableResource, **_FIELDS)


class ProfileResource(_Settings):
    """The settings of this installation (docs/settings.md). An empty field stands for its default."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Any:
        """Fill a field from its variable where that is set. Dagster reads the value when a run starts."""
        given = given_by(env)
        given |= {s.field: _variable(s) for s in SETTINGS if env.get(s.variable)}
        return cls.configure_at_launch(**{field: value for field, value in given.items() if value is not None})

    def settings(self) -> Profile:
        """Raises: WrongSetting: a variable has a value that is not allowed."""
        return Profile.of({setting.field: getattr(self, setting.field) for setting in SETTINGS})

    def gateways(self) -> Gateways:
        """Return the gateways that these settings lead to. A test's subclass returns fakes."""
        return gateways_for(self.settings())


def _variable(setting: Setting) -> dg.EnvVar | int:
    return dg.EnvVar.int(setting.variable) if setting.is_number else dg.EnvVar(setting.variable)


class ModelsResource(dg.ConfigurableResource):
    """The folder of model files. The component ServedModels sets it."""

    folder: str

    def files(self) -> ModelFiles:
        return read_models(Path(self.folder))


class StoreResource(dg.ConfigurableResource):
    """S3: staged models, and the records, notices and results that are kept beside them."""

    profile: ProfileResource

    def objects(self) -> ObjectStore:
        return self.profile.gateways().store

    def records(self) -> Records:
        return Records(self.objects())

    def notices(self) -> Notices:
        return Notices(self.objects())


class HubResource(dg.ConfigurableResource):
    """What models come from: the model hub, an S3 prefix or a folder."""

    profile: ProfileResource
    store: StoreResource

    def client(self) -> Hub:
        return self.profile.gateways().hub

    def source(self, source: Source) -> Hub:
        """Return the gateway to what a model file names as its source."""
        return source_gateway(source, self.client(), self.store.objects())


class ClusterResource(dg.ConfigurableResource):
    """The Kubernetes API of the namespace, or the local cluster's."""

    profile: ProfileResource

    def client(self) -> Cluster:
        return self.profile.gateways().cluster


class EndpointsResource(dg.ConfigurableResource):
    """Engines and agents, each by the base address of its Service."""

    profile: ProfileResource

    def inference(self, url: str) -> Inference:
        return self.profile.gateways().inference(url)

    def agent(self, url: str) -> AgentEndpoint:
        return self.profile.gateways().agent(url)


class MetricsResource(dg.ConfigurableResource):
    """The engines' metrics: a Prometheus, or each engine's own /metrics."""

    profile: ProfileResource

    def reader(self) -> Metrics:
        return self.profile.gateways().metrics


class AwsResource(dg.ConfigurableResource):
    """EC2's capacity reservations and quotas. There are none outside the eks profile."""

    profile: ProfileResource

    def client(self) -> Aws | None:
        return self.profile.gateways().aws


class WebhookResource(dg.ConfigurableResource):
    """Where notices are posted to: GENAI_WEBHOOK_URL, which is a secret and so no field."""

    profile: ProfileResource

    def client(self) -> Webhook | None:
        return self.profile.gateways().webhook


class RolloutResource(dg.ConfigurableResource):
    """The engines that move releases: candidates, cut-over, rollback, controller and watch."""

    profile: ProfileResource
    store: StoreResource
    hub: HubResource
    cluster: ClusterResource
    endpoints: EndpointsResource
    metrics: MetricsResource
    aws: AwsResource
    webhook: WebhookResource

    def gateways(self) -> Gateways:
        return Gateways(
            hub=self.hub.client(),
            store=self.store.objects(),
            cluster=self.cluster.client(),
            inference=self.endpoints.inference,
            agent=self.endpoints.agent,
            metrics=self.metrics.reader(),
            aws=self.aws.client(),
            webhook=self.webhook.client(),
            store_keys=self.profile.gateways().store_keys,
        )

    def engines(self) -> Engines:
        return Engines(self.profile.settings(), self.gateways())


def pipeline_resources(profile: Any) -> dict[str, Any]:
    """Return every resource of the graph, by the name that assets, sensors and schedules ask for it.

    Args:
        profile: a ProfileResource that is configured at launch, so that Dagster initializes one for all of them.
    """
    store = StoreResource.configure_at_launch(profile=profile)
    given: dict[str, Any] = {
        "profile": profile,
        "store": store,
        "hub": HubResource.configure_at_launch(profile=profile, store=store),
        "cluster": ClusterResource.configure_at_launch(profile=profile),
        "endpoints": EndpointsResource.configure_at_launch(profile=profile),
        "metrics": MetricsResource.configure_at_launch(profile=profile),
        "aws": AwsResource.configure_at_launch(profile=profile),
        "webhook": WebhookResource.configure_at_launch(profile=profile),
    }
    return {**given, "rollout": RolloutResource.configure_at_launch(**given)}

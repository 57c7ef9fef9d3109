"""The chart charts/genai-pipeline, installed by helm beside an installation's S3, hub and weather service."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.k8s.render import package_version
from tests.cluster.dagster_in_cluster.images import DATABASE, PIPELINE, import_database, import_pipeline
from tests.cluster.helm import WAIT_S, helm
from tests.cluster.identities import kubectl
from tests.cluster.life.surroundings import Installation
from tests.unit.k8s.pipeline_chart import CHART

NAME = "dagster"
FULL_NAME = "dagster-genai-pipeline"
_CHARTS_OWN = ("GENAI_NAMESPACE", "GENAI_HOME", "GENAI_MODELS", "GENAI_CLUSTER_ACCESS")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_PASSWORD = "of-the-database"


def install_dagster(installation: Installation, archive: Path | None = None, **more: Any) -> dict[str, Any]:
    """Install the chart and wait until each of its parts is ready. Returns the values.

    Args:
        archive: docker archive of the pipeline's own image, which gets the model files from the chart. By default an
            image that borrows its libraries, and has the model files in it.
        more: further values of the chart.
    Raises: AssertionError: what helm said.
    """
    values = _values(installation) | (_own_image(installation) if archive else {}) | more
    with tempfile.TemporaryDirectory(prefix="genai-images-") as work:
        for folder in ("pipeline", "database"):
            (Path(work) / folder).mkdir()
        models = installation.folder / "models"
        if archive:
            installation.cluster.import_image(archive)
        else:
            import_pipeline(installation.cluster, Path(work) / "pipeline", values["image"]["tag"], models)
        import_database(installation.cluster, Path(work) / "database")
    kubectl(
        installation.cluster.kubeconfig, "apply", "-n", installation.namespace, "-f", "-", given=_secrets(installation)
    )
    done = helm_of(installation, "install", NAME, str(CHART), "--wait", f"--timeout={WAIT_S}s", values=values)
    assert done.returncode == 0, done.stderr
    _write_instance(installation)
    return values


def helm_of(
    installation: Installation, *words: str, values: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    return helm(installation.cluster.kubeconfig, installation.namespace, *words, values=values)


def address_of(installation: Installation, service: str) -> str:
    """The address of a Service, which processes in the node's network reach."""
    asked = ["get", "service", service, "-n", installation.namespace, "-o", "jsonpath={.spec.clusterIP}"]
    return kubectl(installation.cluster.kubeconfig, *asked).stdout


def _values(installation: Installation) -> dict[str, Any]:
    files = sorted((installation.folder / "models").iterdir())
    models = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    told = {
        name: value
        for name, value in installation.environment.items()
        if name.startswith(("GENAI_", "AWS_", "HF_", "WEATHER_")) and name not in (*_CHARTS_OWN, *_KEYS)
    }
    little = {"requests": {"cpu": "10m", "memory": "64Mi"}}
    return {
        "image": {"repository": PIPELINE, "tag": f"{installation.namespace}-{models}", "pullPolicy": "Never"},
        "settings": told,
        "existingSecrets": ["pipeline"],
        "postgresql": {"forTrying": True, "image": DATABASE, "existingSecret": {"name": "dagster-postgresql"}},
        "computeLogs": {"bucket": told["GENAI_BUCKET"], "endpointUrl": told["AWS_ENDPOINT_URL"]},
        "runs": {"resources": little},
        "codeServer": {"resources": little},
        "daemon": {"resources": little},
        "webserver": {"resources": little},
    }


def _own_image(installation: Installation) -> dict[str, Any]:
    files = {file.name: file.read_text() for file in (installation.folder / "models").iterdir()}
    image = {"repository": PIPELINE, "tag": package_version(), "pullPolicy": "Never"}
    return {"image": image, "modelFiles": files}


def _secrets(installation: Installation) -> list[dict[str, Any]]:
    keys = {name: installation.environment[name] for name in _KEYS}
    made = {"pipeline": keys, "dagster-postgresql": {"password": _PASSWORD}}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        for name, data in made.items()
    ]


def _write_instance(installation: Installation) -> None:
    """Let tests read Dagster's runs and events where the cluster's Dagster writes them."""
    host = address_of(installation, f"{FULL_NAME}-database")
    url = f"postgresql+psycopg2://dagster:{_PASSWORD}@{host}:5432/dagster"
    installation.dagster_home.mkdir(exist_ok=True)
    storage = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (installation.dagster_home / "dagster.yaml").write_text(yaml.safe_dump(storage))

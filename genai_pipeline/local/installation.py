"""One installation of the local profile: its folder, ports, credentials, and the environment they make.

```
<home>/local.json             ports and addresses; no secrets
<home>/s3-credentials.json    random, made once, 0600
<home>/dagster/               DAGSTER_HOME
<home>/logs/<service>.log
```
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.gateways import StoreKeys
from genai_pipeline.local.ports import HOST
from genai_pipeline.local.prometheus_server import find_prometheus
from genai_pipeline.local.state_files import write_private
from genai_pipeline.observability.alert_relay import ALERT_WEBHOOK
from genai_pipeline.resources.engines import Engines
from genai_pipeline.resources.real_gateways import gateways_for

PROJECT = Path(__file__).parents[2]
"""Where models/ and demo/ are."""

_PASSED_ON = frozenset(
    [
        "AGENT_API_KEYS",
        "CUDA_VISIBLE_DEVICES",
        "LD_LIBRARY_PATH",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "TMPDIR",
        "TZ",
        "XDG_CACHE_HOME",
    ]
)
_PASSED_ON_PREFIXES = ("HF_", "GENAI_", "VLLM_")
_FOR_ONE_FILE = frozenset({ALERT_WEBHOOK})
"""A secret that lies in a file of its own, and that no other service needs."""
PROXIES = frozenset(name for p in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (p, p.lower()))


@dataclass(frozen=True)
class Installation:
    """Paths, and what was written below `home` by the last `genai up`."""

    home: Path

    @classmethod
    def of(cls, profile: Profile) -> Installation:
        return cls(profile.home)

    @property
    def local_json(self) -> Path:
        return self.home / "local.json"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def code_socket(self) -> Path:
        return self.home / "code.sock"

    def log(self, service: str) -> Path:
        return self.home / "logs" / f"{service}.log"

    def ports(self) -> dict[str, int]:
        """The ports that the services got last; empty before the first `genai up`."""
        with suppress(OSError, ValueError, AttributeError):
            written: dict[str, Any] = json.loads(self.local_json.read_text()).get("ports", {})
            return {s: p for s, p in written.items() if s in LOCAL_PORTS and isinstance(p, int)}
        return {}

    def write_addresses(self, ports: Mapping[str, int], env: Mapping[str, str]) -> None:
        """Make `Profile.load()` find the services; a file that is right already is left alone."""
        text = json.dumps(
            {"ports": dict(ports), **addresses(ports, env), **_of_prometheus(ports, env)}, indent=1, sort_keys=True
        )
        if not self.local_json.exists() or self.local_json.read_text() != text:
            self.home.mkdir(parents=True, exist_ok=True)
            write_private(self.local_json, text)

    @cached_property
    def credentials(self) -> tuple[str, str]:
        """Access key and secret of the local S3: made on first use, then the same for ever."""
        file = self.home / "s3-credentials.json"
        with suppress(FileNotFoundError, ValueError, KeyError):
            kept = json.loads(file.read_text())
            return kept["access_key"], kept["secret_key"]
        self.home.mkdir(parents=True, exist_ok=True)
        made = {"access_key": "GENAI" + secrets.token_hex(8).upper(), "secret_key": secrets.token_urlsafe(30)}
        write_private(file, json.dumps(made))
        return made["access_key"], made["secret_key"]

    def environment(self, ports: Mapping[str, int], env: Mapping[str, str]) -> dict[str, str]:
        """Return what a tool needs to find the services, credentials included. `genai env` prints it."""
        key, secret = self.credentials
        found = addresses(ports, env)
        return {
            "GENAI_PROFILE": "local",
            "GENAI_HOME": str(self.home),
            "DAGSTER_HOME": str(self.dagster_home),
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": found["s3_endpoint"],
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HF_ENDPOINT": found["hub_endpoint"],
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def service_environment(self, ports: Mapping[str, int], env: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a service. The same shell settings give the same one, so nothing restarts."""
        passed_on = {k: v for k, v in env.items() if k in _PASSED_ON or k.startswith(_PASSED_ON_PREFIXES)}
        passed_on = {k: v for k, v in passed_on.items() if k not in _FOR_ONE_FILE}
        if not uses_own_hub(ports, env):
            passed_on |= {k: v for k, v in env.items() if k in PROXIES}
        if models := env.get("GENAI_MODELS"):  # services have another working folder than the shell
            passed_on["GENAI_MODELS"] = str(Path(models).absolute())
        path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
        return passed_on | {"HOME": str(Path.home()), "PATH": path} | self.environment(ports, env)


def addresses(ports: Mapping[str, int], env: Mapping[str, str]) -> dict[str, str]:
    """The addresses in local.json. A hub that the user chose by HF_ENDPOINT stays chosen."""
    return {
        "s3_endpoint": _url(ports["s3"]),
        "hub_endpoint": env.get("HF_ENDPOINT") or _url(ports["hub"]),
        "cluster_endpoint": _url(ports["cluster"]),
        "weather_url": _url(ports["weather"]),
        "dagster_url": _url(ports["dagster"]),
        "dashboards_url": _url(ports["exporter"]),
        "gpu_exporter_url": _url(ports["gpu_exporter"]),
    }


def _of_prometheus(ports: Mapping[str, int], env: Mapping[str, str]) -> dict[str, str]:
    """The address of the installation's Prometheus, where one is started."""
    return {"prometheus_url": _url(ports["prometheus"])} if find_prometheus(env).program else {}


def export_lines(environment: Mapping[str, str]) -> str:
    """For `eval "$(genai env)"`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items()))


def engines_of(profile: Profile, env: Mapping[str, str]) -> Engines:
    """Return the engines of a profile; of the local one, with the addresses and keys of its running services.

    Another AWS_ENDPOINT_URL or AWS key in the user's shell does not redirect the local profile.

    Args:
        env: the user's environment; it is only read.
    """
    installation = Installation.of(profile)
    ports = installation.ports()
    if profile.name != "local" or not ports:
        return Engines(profile, gateways_for(profile))
    found = Profile.load({**env, **installation.environment({**LOCAL_PORTS, **ports}, env)})
    return Engines(found, gateways_for(found, StoreKeys(*installation.credentials)))


def uses_own_hub(ports: Mapping[str, int], env: Mapping[str, str]) -> bool:
    return addresses(ports, env)["hub_endpoint"] == _url(ports["hub"])


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"

"""etcd, API server, controller manager and scheduler, and the kubeconfig that reaches them."""

from __future__ import annotations

import base64
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from genai_pipeline.local.ports import free_ports
from tests.cluster.machine.programs import Program

SERVICE_CIDR = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
"""Where pods find the API server."""
POD_CIDR = "10.244.0.0/16"
FRONT_PROXY = "front-proxy-client"


@dataclass(frozen=True)
class Addresses:
    """Where the control plane listens; `host` is loopback, or the node's own address."""

    host: str
    api: int
    etcd: int
    etcd_peer: int
    controllers: int
    scheduler: int

    @classmethod
    def free(cls, host: str) -> Addresses:
        """Ports that nothing holds at the moment."""
        return cls(host, *free_ports(5))

    @property
    def api_url(self) -> str:
        return f"https://{self.host}:{self.api}"


def write_credentials(folder: Path, host: str) -> str:
    """The server's certificate, keys for service account tokens and an administrator's token; returns the token."""
    pki = folder / "pki"
    pki.mkdir(parents=True, exist_ok=True)
    _openssl("genrsa", "-out", pki / "sa.key", "2048")
    _openssl("rsa", "-in", pki / "sa.key", "-pubout", "-out", pki / "sa.pub")
    names = f"subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:{SERVICE_ADDRESS},IP:{host}"
    request = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=kubernetes", "-addext", names]
    # Python from 3.13 on takes no authority that does not say that it may sign.
    usage = ["-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign"]
    _openssl("req", *request, *usage, "-keyout", pki / "server.key", "-out", pki / "server.crt")
    _write_front_proxy(pki)
    token = secrets.token_urlsafe(24)
    tokens = pki / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f"{token},admin,admin,system:masters\n")
    return token


def _write_front_proxy(pki: Path) -> None:
    """What the API server shows to servers that extend it: a certificate that is its own authority."""
    request = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={FRONT_PROXY}"]
    _openssl("req", *request, "-keyout", pki / "front-proxy.key", "-out", pki / "front-proxy.crt")


def write_kubeconfig(file: Path, url: str, token: str) -> Path:
    """An administrator's kubeconfig; the server's certificate is its own authority."""
    authority = base64.b64encode((file.parent / "pki" / "server.crt").read_bytes()).decode()
    file.touch(mode=0o600)
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
                "users": [{"name": "admin", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                "current-context": "test",
            }
        )
    )
    return file


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def control_plane(kubernetes: Path, folder: Path, at: Addresses) -> list[Program]:
    """The four programs. None of them needs root."""
    return [
        _etcd(kubernetes, folder, at),
        _api_server(kubernetes, folder, at),
        _controllers(kubernetes, folder, at),
        _scheduler(kubernetes, folder, at),
    ]


def _etcd(kubernetes: Path, folder: Path, at: Addresses) -> Program:
    client, peer = f"http://127.0.0.1:{at.etcd}", f"http://127.0.0.1:{at.etcd_peer}"
    return Program(
        "etcd",
        [
            f"{kubernetes}",
            "etcd",
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # Nothing here has to outlive a power cut.
            "--unsafe-no-fsync",
        ],
    )


def _api_server(kubernetes: Path, folder: Path, at: Addresses) -> Program:
    return Program(
        "kube-apiserver",
        [
            f"{kubernetes}",
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{at.etcd}",
            f"--secure-port={at.api}",
            f"--bind-address={at.host}",
            f"--advertise-address={at.host}",
            f"--tls-cert-file={folder}/pki/server.crt",
            f"--tls-private-key-file={folder}/pki/server.key",
            f"--service-account-key-file={folder}/pki/sa.pub",
            f"--service-account-signing-key-file={folder}/pki/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--token-auth-file={folder}/pki/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--proxy-client-cert-file={folder}/pki/front-proxy.crt",
            f"--proxy-client-key-file={folder}/pki/front-proxy.key",
            f"--requestheader-client-ca-file={folder}/pki/front-proxy.crt",
            f"--requestheader-allowed-names={FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            # Else logs and exec look the node's name up by DNS.
            "--kubelet-preferred-address-types=InternalIP",
        ],
    )


def _controllers(kubernetes: Path, folder: Path, at: Addresses) -> Program:
    return Program(
        "kube-controller-manager",
        [
            f"{kubernetes}",
            "kube-controller-manager",
            f"--kubeconfig={folder}/kubeconfig",
            f"--service-account-private-key-file={folder}/pki/sa.key",
            f"--root-ca-file={folder}/pki/server.crt",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={at.controllers}",
            f"--cluster-cidr={POD_CIDR}",
            "--allocate-node-cidrs=true",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            # Gone nodes and finished deletions are noticed within a test's patience.
            "--node-monitor-grace-period=40s",
            "--concurrent-namespace-syncs=20",
            # Each controller may ask 20 times a second by default, and tests make dozens of Deployments at once.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
    )


def _scheduler(kubernetes: Path, folder: Path, at: Addresses) -> Program:
    return Program(
        "kube-scheduler",
        [
            f"{kubernetes}",
            "kube-scheduler",
            f"--kubeconfig={folder}/kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={at.scheduler}",
        ],
    )

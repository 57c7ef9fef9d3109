"""A real node: containerd, kubelet and kube-proxy in namespaces of their own. Needs root and Debian's packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.machine.control_plane import POD_CIDR, SERVICE_CIDR
from tests.cluster.machine.programs import Program

NODE = "node-1"
NODE_ADDRESS = "10.245.0.1"
DNS_ADDRESS = "10.96.0.10"
INSIDE = Path(__file__).parent / "inside.sh"
PYTHON = "/opt/checkout/bin/python"
"""The interpreter with this project's packages, as containers see it."""
SHARED = {"/usr": "/usr", sys.base_prefix: sys.base_prefix, "/opt/checkout": sys.prefix}
"""Inside -> here. The packages have a place of their own: a checkout below /tmp would be hidden by a pod's own /tmp.

It must not hide what an image has: the pipeline's image is at /opt/genai, the agent's at /opt/agent.
"""
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
"""What the node runs, and the Debian package that has it."""


def missing_packages() -> list[str]:
    """Debian packages that a real node lacks here."""
    return sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})


def lacking() -> str:
    """What keeps a real node from running here, with the command that mends it; an empty text if nothing does."""
    missing = missing_packages()
    needs = ["root"] if os.geteuid() else []
    needs += [f"Debian's {', '.join(missing)}. Run: apt-get install -y {' '.join(missing)}"] if missing else []
    return " and ".join(needs)


def can_run() -> bool:
    return not lacking()


def sandboxed(command: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command in namespaces of its own, and the environment it needs. Killing it kills all that is inside."""
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    environment = {"NODE_ADDRESS": NODE_ADDRESS, "POD_CIDR": POD_CIDR, "SERVICE_CIDR": SERVICE_CIDR}
    return [*unshare, str(INSIDE), *command], environment | {"DNS_ADDRESS": DNS_ADDRESS}


def node(binaries: Path, folder: Path, name: str) -> list[Program]:
    """The node's programs. `name` keeps the cgroups of several clusters apart."""
    kubernetes = f"{binaries}/kubernetes"
    return [
        Program("containerd", ["containerd", "--config", str(_containerd_config(folder))]),
        Program(
            "kubelet",
            [
                kubernetes,
                "kubelet",
                f"--kubeconfig={folder}/kubeconfig",
                f"--config={_kubelet_config(folder, name)}",
                f"--root-dir={folder}/kubelet",
                f"--node-ip={NODE_ADDRESS}",
                f"--hostname-override={NODE}",
                "--node-labels=genai-pipeline/node=real",
            ],
        ),
        Program(
            "kube-proxy",
            [
                kubernetes,
                "kube-proxy",
                f"--kubeconfig={folder}/kubeconfig",
                "--proxy-mode=iptables",
                f"--hostname-override={NODE}",
                f"--cluster-cidr={POD_CIDR}",
                "--conntrack-max-per-core=0",
                "--bind-address=0.0.0.0",
            ],
        ),
    ]


def cgroup(name: str) -> str:
    return f"genai-{name}"


def remove_cgroups(name: str) -> None:
    """Remove the cgroups that the kubelet of this cluster made, deepest first. Their processes are gone."""
    for root in Path("/sys/fs/cgroup").glob(f"*/{cgroup(name)}"):
        for folder, _, _ in os.walk(root, topdown=False):
            os.rmdir(folder)


def _make_cgroups(name: str) -> None:
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        if hierarchy.is_dir() and not hierarchy.is_symlink():
            (hierarchy / cgroup(name)).mkdir(exist_ok=True)
            _inherit_cpuset(hierarchy, name)


def _inherit_cpuset(hierarchy: Path, name: str) -> None:
    """A new cpuset group is empty and takes no process until it is told its processors and memory."""
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (hierarchy / setting).exists():
            (hierarchy / cgroup(name) / setting).write_text((hierarchy / setting).read_text())


def _kubelet_config(folder: Path, name: str) -> Path:
    _make_cgroups(name)
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup(name)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "evictionHard": {"imagefs.available": "1%", "nodefs.available": "1%", "memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 110,
        # A rollout's probes are quick here, and so are its restarts.
        "nodeStatusUpdateFrequency": "4s",
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        # Else the third start of a crashing container waits for 10 s, the fourth for 20 s.
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "eventRecordQPS": 0,
    }
    file = folder / "kubelet.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def _containerd_config(folder: Path) -> Path:
    cni = folder / "cni"
    cni.mkdir(exist_ok=True)
    (cni / "10-pods.conflist").write_text(json.dumps(_network()))
    (folder / "container.json").write_text(json.dumps(_base_spec(folder)))
    file = folder / "containerd.toml"
    file.write_text(f"""\
version = 2
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  # A machine that forbids negative scores would end runc before it starts anything.
  restrict_oom_score_adj = true
  sandbox_image = "localhost/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      base_runtime_spec = "{folder}/container.json"
""")
    return file


def _network() -> dict[str, Any]:
    """Every pod on a link of its own, so that a Service's rules see all traffic between pods."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}


def _base_spec(folder: Path) -> dict[str, Any]:
    """Every container sees this machine's programs, read-only: an image of vLLM would weigh 7 GB."""
    made = subprocess.run(["ctr", "oci", "spec"], check=True, capture_output=True, cwd=folder)
    spec = json.loads(made.stdout)
    spec["mounts"] += [
        {"destination": inside, "source": here, "type": "bind", "options": ["rbind", "ro"]}
        for inside, here in SHARED.items()
    ]
    return spec

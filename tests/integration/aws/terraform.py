"""Runs Terraform on a copy of deploy/terraform, without AWS: providers come from a folder, and answers are mocked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

MODULE = Path(__file__).parents[3] / "deploy" / "terraform"
PROGRAM = shutil.which("terraform")
SHOWN = {"complete", "everything"}
"""Tests with one run each, of the same name."""
WITHOUT_PROGRAM = "needs the program terraform"
WITHOUT_PROVIDER = (
    f"{WITHOUT_PROGRAM}, and the provider hashicorp/aws in a folder that TERRAFORM_MIRROR names: "
    "`terraform providers mirror FOLDER` in deploy/terraform makes one"
)


def mirror() -> Path | None:
    """Return a folder that has the provider in the layout of a mirror, or None."""
    usual = [Path.home() / ".terraform.d/plugins", Path("/usr/local/share/terraform/plugins")]
    packaged = [found.parent for found in Path("/opt").glob("*/registry.terraform.io")]
    named = [Path(folder)] if (folder := os.environ.get("TERRAFORM_MIRROR")) else []
    return next((f for f in [*named, *usual, *packaged] if (f / "registry.terraform.io/hashicorp/aws").is_dir()), None)


@dataclass(frozen=True)
class Terraform:
    """A copy of the module, so that nothing is written into the repository."""

    folder: Path
    providers: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def copy_to(cls, folder: Path, providers: Path | None) -> Terraform:
        shutil.copytree(MODULE, folder / "module", ignore=shutil.ignore_patterns(".terraform*"))
        return cls(folder / "module", providers)

    @classmethod
    def initialized(cls, folder: Path, providers: Path | None) -> Terraform:
        made = cls.copy_to(folder, providers)
        begun = made.run("init", "-backend=false", "-input=false")
        assert begun.returncode == 0, begun.stderr
        return made

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one command, with no other environment than its own: no credentials and no settings of this machine."""
        rc = self.folder / ".terraformrc"
        place = f"filesystem_mirror {{ path = {json.dumps(str(self.providers))} }}" if self.providers else ""
        rc.write_text(f"provider_installation {{\n  {place}\n}}\n")
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TF_CLI_CONFIG_FILE": str(rc)}
        env |= {"CHECKPOINT_DISABLE": "1", **self.variables}
        command = [PROGRAM or "terraform", *args]
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    @cached_property
    def states(self) -> Tested:
        """The tests whose states are read. Terraform prints the provider's whole schema with each: it takes seconds."""
        return self._test(*SHOWN, verbose=True)

    @cached_property
    def others(self) -> Tested:
        return self._test(*{f.name.partition(".")[0] for f in (self.folder / "tests").glob("*.tftest.hcl")} - SHOWN)

    def _test(self, *files: str, verbose: bool = False) -> Tested:
        asked = [*(["-verbose"] if verbose else []), *(f"-filter=tests/{name}.tftest.hcl" for name in files)]
        lines = self.run("test", "-json", *asked).stdout.splitlines()
        return Tested([json.loads(line) for line in lines if line.startswith("{")])


@dataclass(frozen=True)
class Tested:
    """What `terraform test -json -verbose` said."""

    messages: list[dict[str, Any]]

    def outcomes(self) -> dict[str, str]:
        """Return run -> its outcome."""
        runs = [m["test_run"] for m in self.messages if m["type"] == "test_run" and m["test_run"].get("status")]
        return {f"{run['path']}:{run['run']}": run["status"] for run in runs if run["status"] != "pending"}

    def complaints(self) -> list[str]:
        return [
            m["diagnostic"]["summary"] + ": " + m["diagnostic"]["detail"] for m in self.messages if "diagnostic" in m
        ]

    def state(self, run: str) -> State:
        """Return what one run made."""
        (found,) = [m["test_state"] for m in self.messages if m["type"] == "test_state" and m.get("@testrun") == run]
        return State(found["root_module"], found["outputs"])


@dataclass(frozen=True)
class State:
    root: Mapping[str, Any]
    outputs: Mapping[str, Any]
    """What `terraform output -json` would print."""

    def resources(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the resources of one block by key, like `aws_subnet.private`; one without a key by an empty text."""
        found = (r for r in _all(self.root) if f"{r['type']}.{r['name']}" == name and r["mode"] == "managed")
        return {str(r.get("index", "")): r["values"] for r in found}

    def statements(self) -> dict[str, list[dict[str, Any]]]:
        """Return ServiceAccount -> the statements of its policy."""
        policies = self.resources("aws_iam_role_policy.pod")
        accounts = self.resources("aws_eks_pod_identity_association.pod")
        return {a["service_account"]: json.loads(policies[k]["policy"])["Statement"] for k, a in accounts.items()}


def _all(module: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", ())
    for child in module.get("child_modules", ()):
        yield from _all(child)

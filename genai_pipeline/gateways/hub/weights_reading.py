"""Reads the indexes of a revision's weights, and leaves out of its snapshot what an engine would load by mistake."""

from __future__ import annotations

from dataclasses import replace

from genai_pipeline.core.errors import HubUnavailable
from genai_pipeline.core.model_snapshot import LeftOut, Snapshot, SnapshotFile
from genai_pipeline.core.weights_layout import is_root_index, layout_of
from genai_pipeline.gateways.hub.abc import Hub

LARGEST_INDEX = 64 * 1024**2
"""Bytes. The index of a model of 100,000 tensors has some 10 MB."""


def with_layout(snapshot: Snapshot, hub: Hub) -> Snapshot:
    """Return the snapshot with its layout, without the files that are left out. Each index of the root is read.

    Raises: HubUnavailable: an index came incomplete; and the errors of reading the hub.
    """
    indexes = {file.path: _index(snapshot, file, hub) for file in snapshot.files if is_root_index(file.path)}
    layout = layout_of([file.path for file in snapshot.files], indexes, snapshot.source)
    why = dict(layout.left_out)
    return replace(
        snapshot,
        files=tuple(file for file in snapshot.files if file.path not in why),
        left_out=tuple(LeftOut(file, why[file.path]) for file in snapshot.files if file.path in why),
        layout=layout,
    )


def _index(snapshot: Snapshot, file: SnapshotFile, hub: Hub) -> bytes:
    """Return the content of an index; nothing for a file that is too large to be one."""
    if not 0 < file.size <= LARGEST_INDEX:
        return b""
    content = b"".join(hub.read(snapshot.source, snapshot.revision, file.path, 0, file.size))
    if len(content) != file.size:
        raise HubUnavailable(f"{file.path}: the source sent {len(content)} of {file.size} bytes.", "Run this again.")
    return content

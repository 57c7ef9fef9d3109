"""Checks staged models that are in use: are their bytes still those of the manifest?"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from genai_pipeline.core.errors import GenaiError, NotFound, StagingError, StoreConflict
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.staging.inventory import chosen_manifest
from genai_pipeline.staging.verify import REPAIR, FileState, Published, Verification, verify_staged

CHECK = "bytes_unchanged"


def spot_check(
    store: ObjectStore,
    model: str,
    releases: Sequence[str],
    share: float,
    say: Callable[[str], None] = lambda _: None,
    rng: random.Random | None = None,
) -> Verdict:
    """Read a random share of the staged model of each release again, and return the verdict.

    It is failed if a byte differs from the manifest, or a manifest or a file is gone. It is inconclusive if the store
    does not answer.
    """
    if not releases:
        return passed(CHECK, f"No release of {model} is live, so none of its staged models is in use.")
    rows: list[dict[str, Any]] = []
    files = 0
    try:
        for release in releases:
            manifest = chosen_manifest(store, model, release)
            found = verify_staged(store, manifest, Published(None, ""), share, say=say, rng=rng)
            files += len(found.files)
            rows += _rows(release, found)
    except (NotFound, StagingError, StoreConflict) as error:
        return failed(CHECK, str(error), files=rows)
    except GenaiError as error:
        return inconclusive(CHECK, str(error), files=rows)
    wrong = [f"{row['path']} of {row['release']} {row['detail']}" for row in rows if row["state"] == FileState.DIFFERS]
    read = [row for row in rows if row["state"] == FileState.EQUAL]
    if wrong:
        return judge(CHECK, False, f"{'; '.join(wrong)}. Nothing was changed. {REPAIR}", files=rows)
    size = sum(int(row["bytes"]) for row in read)
    summary = f"{len(read)} of {files} files ({size} bytes) of {', '.join(releases)} were read and are unchanged."
    return judge(CHECK, True, summary, files=rows)


def _rows(release: str, found: Verification) -> list[dict[str, Any]]:
    """Return the files that were read, and those that differ."""
    return [
        {"release": release, "path": f.path, "bytes": f.size, "state": str(f.state), "detail": f.detail}
        for f in found.files
        if f.state is not FileState.UNREAD
    ]

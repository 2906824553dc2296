"""`tools/shard_videos.py`, which publishes only when so many others are about to do so, too.

python -m tests.integration.append_at_once MEETING NUMBER ARGUMENT...
"""

import os
import sys
import time
from pathlib import Path

from selfseg.data.format import manifest
from tools.shard_videos import main

PATIENCE_S = 120

point_to = manifest.point_to


def meet(folder: Path, number: int) -> None:
    """Wait until so many processes have come to this folder."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + PATIENCE_S
    while len(list(folder.iterdir())) < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def together(collection: str, manifest_id: str, expected: str | None) -> None:
    """Point to a manifest when all others have written theirs."""
    meet(Path(sys.argv[1]), int(sys.argv[2]))
    point_to(collection, manifest_id, expected)


if __name__ == "__main__":
    manifest.point_to = together
    main(sys.argv[3:])

"""What tests of prediction share: a model that needs no training, and videos it can segment."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from selfseg.contracts import FramePairs, View
from selfseg.data.ingesting import IngestSettings
from selfseg.data.manifest import Manifest
from selfseg.data.sources import SourceVideo, inspect
from selfseg.data.spooling import spool, spool_url
from selfseg.data.writing import commit, deal, publish_shard


class FastIsForeground:
    """A method without weights: what moves more than a pixel a frame or two."""

    players = nn.ModuleDict()
    views = ("dynamic",)

    def segment(self, frame: FramePairs, view: View) -> Tensor:
        assert view == "dynamic"
        speed = (frame.flow - frame.camera).norm(dim=1)
        return torch.sigmoid(4 * (speed - 1)).mean(0)


class BrightIsForeground:
    """A method that looks at the image alone."""

    players = nn.ModuleDict()
    views = ("static",)

    def segment(self, frame: FramePairs, view: View) -> Tensor:
        assert view == "static"
        return (frame.image[0].mean(0) > 0.5).float()


def model_of(method: object, *, height: int = 48, width: int = 64) -> Any:
    """Return a model as `load_model` would, around a method that was never saved."""
    data = SimpleNamespace(height=height, width=width, gaps=(1, 2), camera="none")
    return SimpleNamespace(
        method=method,
        config=SimpleNamespace(data=data),
        ingest=IngestSettings(height=2 * height),
        url="runs/test/checkpoints/step_1",
    )


def ingest(url: str, paths: list[Path], masks: Path | None, settings: IngestSettings) -> None:
    """Write a collection of one or a few videos in this process."""
    videos = [inspect(path, masks) for path in paths]
    ledgers = [
        (spool_url(url, video, settings, "tar"), spool(video, url, settings, lambda _: None))
        for video in videos
        if isinstance(video, SourceVideo)
    ]
    shards = [publish_shard(url, hand) for hand in deal(ledgers, 2**26)]
    entries = sorted((ledger.video for _, ledger in ledgers), key=lambda video: video.id)
    manifest = Manifest(
        settings=settings,
        shard_bytes=2**26,
        videos=tuple(entries),
        skipped=(),
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
    )
    commit(url, manifest)

"""What tests of prediction share: models that need no training, and videos they can segment."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from selfseg.contracts import Detections, FramePairs, View
from selfseg.data.format.manifest import Manifest
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.sources import SourceVideo, inspect
from selfseg.data.ingest.spooling import Spooled, spool, spool_url
from selfseg.data.ingest.writing import commit, deal, publish_shard


class FastIsForeground:
    """A method without weights: what moves more than a pixel a frame or two."""

    players = nn.ModuleDict()
    views = ("dynamic",)

    def segment(self, frame: FramePairs, view: View) -> Tensor:
        assert view == "dynamic"
        speed = (frame.flow - frame.camera).norm(dim=1)
        return torch.sigmoid(4 * (speed - 1)).mean(0)


class BrightObjects:
    """A method that finds bright things one by one, the largest first, in a grid of 6 x 8 cells.

    Its control fills each thing's box.

    mask, bump: probability within an object, and within its box in the control
    """

    players = nn.ModuleDict()
    views = ("static",)

    def __init__(self, *, mask: float = 0.9, bump: float = 0.9) -> None:
        self.mask, self.bump = mask, bump
        self.looked_at: list[tuple[int, ...]] = []

    def segment(self, frame: FramePairs, view: View) -> Tensor:
        assert view == "static"
        return self.detect(frame.image[0]).masks.sum(0)

    def detect(self, image: Tensor, *, objects: int = 1) -> Detections:
        self.looked_at.append(tuple(image.shape))
        height, width = image.shape[1:]
        bright = (image.mean(0) > 0.5).numpy().astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
        order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA])[:objects]
        things = torch.from_numpy(np.stack([labels == n for n in order] or [labels < 0]))
        things = things[: len(order)].float()
        filled = torch.zeros_like(things)
        for each, (left, top, across, down, _) in zip(filled, stats[order], strict=True):
            each[top : top + down, left : left + across] = 1
        boxes = torch.from_numpy(stats[order, :4]) / torch.tensor([width, height, width, height])
        area = things.mean((1, 2))
        cells = [int((y + h / 2) * 6) * 8 + int((x + w / 2) * 8) for x, y, w, h in boxes.tolist()]
        rows, columns = torch.meshgrid(torch.arange(6), torch.arange(8), indexing="ij")
        centres = torch.stack([(columns + 0.5) / 8, (rows + 0.5) / 6], -1).reshape(-1, 2)
        probability = torch.full((48,), 1e-3).index_add(
            0, torch.tensor(cells, dtype=torch.int64), area
        )
        return Detections(
            boxes=boxes.float(),
            confidence=area / max(float(area.sum()), 1e-9),
            masks=things * self.mask,
            bumps=filled * self.bump,
            cells=torch.tensor(cells, dtype=torch.int64),
            centres=centres,
            probability=probability / probability.sum(),
        )


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
    spooled = [
        Spooled.of(
            spool_url(url, video, settings, "tar"), spool(video, url, settings, lambda _: None)
        )
        for video in videos
        if isinstance(video, SourceVideo)
    ]
    shards = [publish_shard(url, hand)[0] for hand in deal(spooled, 2**26)]
    entries = sorted((part.video for part in spooled), key=lambda video: video.id)
    manifest = Manifest(
        settings=settings,
        shard_bytes=2**26,
        videos=tuple(entries),
        skipped=(),
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
    )
    commit(url, manifest)

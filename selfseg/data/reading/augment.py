"""What a sample looks like this time: one pair of its frame, one view of it, one light."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from pydantic import Field, field_validator

from selfseg.config import Config
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.draws import uniforms
from selfseg.data.reading.pairs import (
    CameraModel,
    Crop,
    Pair,
    PairAddress,
    gaps_of,
    on_grid,
    read_background,
    read_pair,
    read_still,
    read_truth,
)

Share = Annotated[float, Field(ge=0, le=1)]
CropSide = Annotated[float, Field(gt=0, le=1)]

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in grey; ITU-R BT.601."""


class Augmentation(Config):
    """How much samples are varied."""

    crop: tuple[CropSide, CropSide] = (0.6, 1.0)
    """Least and largest side of the crop, as shares of the frame's sides."""

    flip: Share = 0.5
    """Probability of mirroring left and right."""

    reverse: Share = 0.5
    """Probability of reading a pair against time."""

    brightness: Share = 0.2
    """Largest change of all values, as a share of them."""

    contrast: Share = 0.2
    """Largest change of differences from the image's mean, as a share of them."""

    saturation: Share = 0.2
    """Largest change of differences from grey, as a share of them."""

    @field_validator("crop")
    @classmethod
    def _rising(cls, crop: tuple[float, float]) -> tuple[float, float]:
        if crop[0] > crop[1]:
            raise ValueError("the least side comes first")
        return crop


def draw_pair(
    collection: Collection,
    ordinal: int,
    *,
    stream: tuple[int | str, ...],
    gaps: Sequence[int],
    camera: CameraModel,
    height: int,
    width: int,
    augmentation: Augmentation,
    annotated: bool = False,
    moving: bool = True,
    background: bool = False,
) -> Pair:
    """Read a sample as a pair on a grid, varied as the draws of `stream` say.

    The draws depend on `stream` and on the sample's key alone: not on the order of reading, nor
    on the process that reads.

    Args:
        collection: where the sample lies.
        ordinal: a sample; with flow over at least one of `gaps` if it is to move.
        stream: names of the draws, e.g. seed and epoch.
        gaps: one of those that the sample has is drawn, all equally likely.
        camera: the model of the camera's motion.
        height: rows of the grid.
        width: columns of the grid.
        augmentation: how much is varied.
        annotated: read the sample's annotated mask too; the pair is then a forward one, whose
            first frame the mask is of.
        moving: read the sample's motion; otherwise its image alone, which is at rest.
        background: read the video's background too; it is seen and lit as the image is.
    """
    record = collection.record(ordinal)
    drawn = uniforms(9, *stream, record.key).tolist()
    if moving:
        held = gaps_of(record, gaps)
        gap = held[int(drawn[0] * len(held))]
        reverse = drawn[1] < augmentation.reverse and not annotated
        pair = read_pair(collection, PairAddress(ordinal, gap, reverse), camera)
    else:
        pair = read_still(collection, ordinal)
    least, largest = augmentation.crop
    side = least + drawn[2] * (largest - least)
    view = Crop(
        top=drawn[3] * (1 - side),
        left=drawn[4] * (1 - side),
        side=side,
        flip=drawn[5] < augmentation.flip,
    )
    if annotated:
        pair = replace(pair, truth=read_truth(record))
    if background:
        pair = replace(pair, background=read_background(collection, ordinal))
    pair = on_grid(pair, height, width, view)
    strengths = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    gains = [1 + s * (2 * u - 1) for s, u in zip(strengths, drawn[6:], strict=True)]
    light = light_on(pair.image, *gains)
    if pair.background is not None:
        pair = replace(pair, background=cv2.transform(pair.background, light))
    return replace(pair, image=cv2.transform(pair.image, light))


def light_on(
    image: UInt8[np.ndarray, "h w 3"], brightness: float, contrast: float, saturation: float
) -> Float64[np.ndarray, "3 4"]:
    """Return what scales values, their differences from an image's mean, and those from grey.

    1 changes nothing; contrast 0 leaves the mean alone, saturation 0 a grey image. It maps colours
    (red, green, blue, 1) to colours; `cv2.transform` applies it, and clips what is out of range.
    """
    colours = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
    mean = LUMA @ cv2.mean(image)[:3]
    offset = brightness * (1 - contrast) * mean
    return np.c_[brightness * contrast * colours, np.full(3, offset)]

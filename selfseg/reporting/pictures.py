"""From arrays to the page's pictures: tiles for the grid, and strips of frames that play."""

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Num, UInt8

from selfseg.contracts import Detections
from selfseg.evaluation.metrics import region_similarity
from selfseg.ops.colours import flow_image, overlay
from selfseg.ops.drawing import draw_detections
from selfseg.ops.masks import resize

TILE_WIDTH = 480
"""Pixels a tile is wide at most; the page shows it at half of that on a dense screen."""

FILM_WIDTH = 560
"""Pixels the large film is wide at most."""

SIDE_WIDTH = 280
"""Pixels the small films beside it are wide at most."""

GRID = ("frame", "flow", "own motion", "prediction", "truth")
"""Columns of the grid, in order; some only where the collection holds motion or masks."""

FILM = {
    "prediction": FILM_WIDTH,
    "frame": SIDE_WIDTH,
    "own motion": SIDE_WIDTH,
    "mask": SIDE_WIDTH,
}
"""Layers of a film and their widths; the first is shown large."""

FLOW_WORDS = {"flow": "optical flow", "own motion": "what moves besides the camera"}
"""What the two pictures of motion show."""

QUALITY = 74
"""WebP quality at which these sizes show no artefacts and stay a few kilobytes each."""

MAX_STRIP = 16_383
"""Pixels a side that WebP can hold."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame as the model sees it, what the model makes of it, and the truth where known.

    flow: displacement to a neighbouring frame, (x, y) in pixels of its own grid; None where the
        collection holds no motion
    own_motion: what is left of `flow` without the camera's part
    probability: of the foreground, on a grid of its own
    truth: at its own size
    found: boxes and the grid's probabilities, of a method that finds objects one by one
    """

    video: str
    frame: int
    time_s: float
    image: UInt8[np.ndarray, "h w 3"]
    flow: Float[np.ndarray, "fh fw 2"] | None
    own_motion: Float[np.ndarray, "fh fw 2"] | None
    probability: Float[np.ndarray, "ph pw"]
    truth: Bool[np.ndarray, "th tw"] | None
    found: Detections | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture of the page with the words that stand in for it."""

    name: str
    alt: str
    uri: str


@dataclass(frozen=True, slots=True)
class Row:
    """One frame of the grid; `agreement` is J of this frame against its ground truth."""

    video: str
    frame: int
    width: int
    height: int
    tiles: list[Tile]
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Film:
    """Consecutive frames of one video, each layer a strip with the frames one below another."""

    video: str
    first: int
    last: int
    num_frames: int
    frame_s: float
    width: int
    height: int
    layers: list[Tile]

    @property
    def length_s(self) -> float:
        """How long one round takes: as long as it took, but never too fast to look at."""
        return round(self.num_frames * max(self.frame_s, 1 / 12), 2)


def _fit(image: Num[np.ndarray, "..."], width: int) -> Num[np.ndarray, "..."]:
    """Shrink to at most `width` pixels; pictures are never blown up, browsers do that well."""
    height, now = image.shape[:2]
    if now <= width:
        return image
    return cv2.resize(image, (width, round(height * width / now)), interpolation=cv2.INTER_AREA)


def data_uri(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Encode an RGB picture as WebP, spelt out so that the page needs no file beside it."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    _, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def _resized(mask: Float[np.ndarray, "..."], height: int, width: int) -> Float[np.ndarray, "..."]:
    return resize(torch.from_numpy(mask), height, width).numpy()


def _soft(probability: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Show a soft mask as grey levels, 0 black and 1 white."""
    return np.repeat((255 * probability).round().astype(np.uint8)[..., None], 3, axis=2)


def _layers(look: Look) -> dict[str, tuple[UInt8[np.ndarray, "h w 3"], str]]:
    """Name every picture of a frame, with its alternative text."""
    where = f"frame {look.frame} of {look.video}"
    height, width = look.image.shape[:2]
    probability = _resized(look.probability, height, width)
    found = probability >= 0.5
    share = f"{100 * float(found.mean()):.0f} % of the picture"
    layers = {"frame": (look.image, f"{where}, as filmed")}
    for name, flow in (("flow", look.flow), ("own motion", look.own_motion)):
        if flow is not None:
            drawn = cv2.resize(flow_image(flow), (width, height), interpolation=cv2.INTER_LINEAR)
            layers[name] = (drawn, f"{where}: {FLOW_WORDS[name]}")
    layers["mask"] = (_soft(probability), f"{where}: predicted soft mask")
    layers["prediction"] = _prediction(look, found, f"{where}: prediction, {share}")
    if look.truth is not None:
        truth = _resized(look.truth.astype(np.float32), height, width) >= 0.5
        layers["truth"] = (overlay(look.image, truth), f"{where}: ground truth")
    return layers


def _prediction(
    look: Look, mask: Bool[np.ndarray, "h w"], alt: str
) -> tuple[UInt8[np.ndarray, "h w 3"], str]:
    drawn, found = overlay(look.image, mask), look.found
    if found is None:
        return drawn, alt
    drawn = draw_detections(
        drawn,
        boxes=found.boxes.numpy(),
        cells=found.cells.numpy(),
        centres=found.centres.numpy(),
        probability=found.probability.numpy(),
    )
    sure = ", ".join(f"{confidence:.2f}" for confidence in found.confidence.tolist())
    return drawn, f"{alt}, in a box of confidence {sure}" if sure else f"{alt}, no box"


def agreement(look: Look) -> float | None:
    """Return J of one frame at the truth's own size, or None without a truth."""
    if look.truth is None:
        return None
    grown = _resized(look.probability, *look.truth.shape)
    return float(region_similarity(grown >= 0.5, look.truth))


def tiles(look: Look, names: Collection[str], *, width: int) -> list[Tile]:
    """Draw those pictures of a frame that are named and that there are, in their own order."""
    return [
        Tile(name, alt, data_uri(_fit(image, width)))
        for name, (image, alt) in _layers(look).items()
        if name in names
    ]


def row(look: Look) -> Row:
    """Draw one frame of the grid."""
    height, width = look.image.shape[:2]
    drawn = tiles(look, GRID, width=TILE_WIDTH)
    return Row(look.video, look.frame, width, height, drawn, agreement(look))


def film(looks: Sequence[Look]) -> Film:
    """Draw consecutive frames of one video as strips: the prediction large, the rest small."""
    first, last = looks[0], looks[-1]
    height, width = first.image.shape[:2]
    drawn = [_layers(look) for look in looks]
    layers = []
    for name, widest in FILM.items():
        if name not in drawn[0]:
            continue
        limit = min(widest, MAX_STRIP * width // (height * len(looks)) - 1)
        strip = np.concatenate([_fit(layer[name][0], limit) for layer in drawn])
        alt = f"{name} of {first.video}, frames {first.frame} to {last.frame}"
        layers.append(Tile(name, alt, data_uri(strip)))
    frame_s = (last.time_s - first.time_s) / max(len(looks) - 1, 1)
    return Film(first.video, first.frame, last.frame, len(looks), frame_s, width, height, layers)

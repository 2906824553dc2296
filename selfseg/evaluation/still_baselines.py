"""What finds the object of a single image without training anything; NumPy.

Each takes an RGB image and returns a soft mask, of the image's size or smaller.
"""

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from selfseg.evaluation.soft_masks import against_otsu, soft

Image = UInt8[np.ndarray, "h w 3"]

CENTRE_RADIUS = 0.3
"""Half axes of the centre ellipse, as shares of the image's width and height."""

LONGER_SIDE = 160
"""Pixels along the longer side of the image that is looked at; more take longer."""

GRABCUT_ROUNDS = 5
"""Rounds of colour models and cuts."""

NUM_REGIONS = 200
"""Regions of like colour that the image is divided into."""

COMPACTNESS = 20.0
"""How many units of CIELAB a region's colours may differ by for each region's width in space."""

COLOUR_REACH = 10.0
"""CIELAB distance at which two colours count as different; sigma_clr."""

SPACE_REACH = 0.25
"""Distance at which contrast stops counting, as a share of the longer side; sigma_spa."""

SMOOTHNESS_FLOOR = 0.1
"""How strongly neighbours of any colours are held together; mu."""


def centre(image: Image) -> Float32[np.ndarray, "h w"]:
    """Look at nothing but the image's size; see `centre_ellipse`."""
    return centre_ellipse(*image.shape[:2])


def centre_ellipse(height: int, width: int) -> Float32[np.ndarray, "{height} {width}"]:
    """Return a soft ellipse around the image's middle, 0.5 at CENTRE_RADIUS of its sides."""
    y = (np.arange(height)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return soft(1 - np.hypot(x, y) / CENTRE_RADIUS)


def grabcut(image: Image) -> Float32[np.ndarray, "rows columns"]:
    """Cut the image in two by colour, begun with the centre ellipse; 0 or 1.

    Rother, Kolmogorov, Blake, "GrabCut", 2004, by OpenCV: mixtures of colours for both sides and a
    cut along edges, in turns. Only the image's outermost pixels are sure, to be background.
    """
    small = _small(image)
    inside = centre_ellipse(*small.shape[:2]) > 0.5
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[_border(labels.shape)] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # it begins with k-means, which draws from a generator of the process
    models = np.zeros((2, 1, 65))
    cv2.grabCut(
        small, labels, (0, 0, 1, 1), models[0], models[1], GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK
    )
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)


def boundary_connectivity(image: Image) -> Float32[np.ndarray, "rows columns"]:
    """Tell the background by how much of the image's border its colours reach.

    Zhu, Liang, Wei, Sun, "Saliency optimization from robust background detection", 2014, with
    regions from k-means on colour and place, and Otsu's threshold on the result. For regions p, q:

        area(p) = sum_q exp(-geodesic(p, q)^2 / 2 sigma_clr^2);   border(p): the same over q that
        touch the border;   background(p) = 1 - exp(-border(p)^2 / (2 area(p)))
        contrast(p) = sum_q |colour(p) - colour(q)| exp(-distance(p, q)^2 / 2 sigma_spa^2)
        background(q)

    and then the values s between 0 and 1 that are least at odds with both and with each other:
    sum_p background(p) s_p^2 + contrast(p) (1 - s_p)^2 + sum_pq like(p, q) (s_p - s_q)^2.
    """
    lab = cv2.cvtColor(_small(image).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    labels, colours, places = _regions(np.asarray(lab, np.float32))
    at_border = np.isin(np.arange(len(colours)), labels[_border(labels.shape)])
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1)
    adjacent = _adjacent(labels, len(colours))

    alike = _falls(_geodesic(apart, adjacent | np.outer(at_border, at_border)), COLOUR_REACH)
    background = 1 - np.exp(-(alike[:, at_border].sum(1) ** 2) / (2 * alike.sum(1)))
    near = _falls(np.linalg.norm(places[:, None] - places, axis=-1), SPACE_REACH)
    contrast = (apart * near) @ background
    contrast /= max(float(contrast.max()), 1e-6)

    like = (_falls(apart, COLOUR_REACH) + SMOOTHNESS_FLOOR) * adjacent
    laplacian = np.diag(like.sum(1)) - like
    values = np.linalg.solve(np.diag(background + contrast + 1e-6) + laplacian, contrast)
    return against_otsu(values.clip(0)[labels])


def _small(image: Image) -> UInt8[np.ndarray, "rows columns 3"]:
    rows, columns = (
        max(2, round(LONGER_SIDE * side / max(image.shape))) for side in image.shape[:2]
    )
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)


def _border(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    border = np.ones(shape, bool)
    border[1:-1, 1:-1] = False
    return border.nonzero()


def _regions(
    lab: Float32[np.ndarray, "h w 3"],
) -> tuple[Int[np.ndarray, "h w"], Float[np.ndarray, "regions 3"], Float[np.ndarray, "regions 2"]]:
    """Divide an image into compact regions of like colour, begun as a grid of squares.

    Returns:
        The region of each pixel, and each region's mean colour (CIELAB) and place (row and column
        over the longer side).
    """
    height, width = lab.shape[:2]
    side = np.sqrt(height * width / NUM_REGIONS)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    squares = (rows // side) * np.ceil(width / side) + columns // side
    _, begin = np.unique(squares, return_inverse=True)
    places = np.stack([rows, columns], -1)
    features = np.concatenate([lab, places * np.float32(COMPACTNESS / side)], -1).reshape(-1, 5)
    _, labels, _ = cv2.kmeans(
        features,
        int(begin.max()) + 1,
        begin.reshape(-1, 1).astype(np.int32),
        (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0),
        1,
        cv2.KMEANS_USE_INITIAL_LABELS,
    )
    _, found, counts = np.unique(labels, return_inverse=True, return_counts=True)
    found = found.reshape(-1)

    def means(values: Float32[np.ndarray, "h w c"]) -> Float[np.ndarray, "regions c"]:
        channels = values.reshape(len(found), -1).T
        return np.stack([np.bincount(found, channel) / counts for channel in channels], -1)

    return found.reshape(height, width), means(lab), means(places) / max(height, width)


def _adjacent(labels: Int[np.ndarray, "h w"], count: int) -> np.ndarray:
    """Mark the pairs of regions that touch, both ways."""
    adjacent = np.zeros((count, count), bool)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        adjacent[one, other] = adjacent[other, one] = True
    np.fill_diagonal(adjacent, val=False)
    return adjacent


def _geodesic(apart: Float[np.ndarray, "n n"], linked: np.ndarray) -> Float[np.ndarray, "n n"]:
    """Return the lengths of the shortest ways over links: Floyd and Warshall's algorithm."""
    lengths = np.where(linked, apart, np.inf)
    np.fill_diagonal(lengths, 0)
    for middle in range(len(lengths)):
        lengths = np.minimum(lengths, lengths[:, middle, None] + lengths[middle])
    return lengths


def _falls(distance: Float[np.ndarray, "n n"], reach: float) -> Float[np.ndarray, "n n"]:
    return np.exp(-(distance**2) / (2 * reach**2))

"""Dense optical flow between two frames by DIS, OpenCV's inverse search; NumPy."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8


def dis_flow(
    first_gray: UInt8[np.ndarray, "h w"],
    second_gray: UInt8[np.ndarray, "h w"],
    *,
    finest_scale: int = 1,
    variational_iterations: int = 5,
    descent_iterations: int = 16,
) -> Float32[np.ndarray, "h w 2"]:
    """Return each pixel's displacement from the first frame to the second, (x, y), in pixels.

    Kroeger et al., "Fast optical flow using dense inverse search", 2016, as OpenCV's medium preset
    but for what the arguments say. Threads are OpenCV's; cv2.setNumThreads.

    Args:
        first_gray: the frame whose grid the flow lives on, 0 to 255.
        second_gray: the frame it points into, of the same size.
        finest_scale: pyramid level that the search ends on; 0 is full resolution.
        variational_iterations: rounds of smoothing refinement at each level; 0 for none.
        descent_iterations: gradient steps for each patch.
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(finest_scale)
    search.setVariationalRefinementIterations(variational_iterations)
    search.setGradientDescentIterations(descent_iterations)
    # A field of zeros would be taken for a first guess and change the answer; OpenCV's stubs do not
    # know that None asks for none.
    return search.calc(first_gray, second_gray, None)  # pyright: ignore[reportCallIssue, reportArgumentType]

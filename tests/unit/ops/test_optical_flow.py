import cv2
import numpy as np

from selfseg.ops.optical_flow import dis_flow
from tests.synthetic import moving_disc


def test_the_disc_and_the_wall_are_each_seen_to_move_as_they_do():
    scene = moving_disc(2, height=96, width=128, radius=24, velocity=(3, 1), pan=(-2, 0))
    first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in scene.frames)
    error = np.linalg.norm(dis_flow(first, second) - scene.flow(0, 1), axis=-1)
    # Away from the disc's edge and the frame's, where something appears or vanishes.
    mask = scene.masks[0].astype(np.uint8)
    inside = cv2.erode(mask, np.ones((9, 9))) > 0
    outside = cv2.dilate(mask, np.ones((17, 17))) == 0
    assert np.median(error[inside]) < 0.3
    assert np.median(error[outside]) < 0.3

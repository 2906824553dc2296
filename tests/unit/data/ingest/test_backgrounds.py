"""The median of a video: what moves is gone from it, however long the video is."""

import weakref

import numpy as np
import pytest

from selfseg.data.ingest.backgrounds import MOST_FRAMES, MedianImage


def test_a_square_that_moves_vanishes_and_the_rest_is_as_it_was():
    behind = np.random.default_rng(0).integers(0, 256, (20, 60, 3), np.uint8)
    median = MedianImage()
    for left in range(0, 50, 5):
        frame = behind.copy()
        frame[4:14, left : left + 10] = (250, 10, 10)
        median.add(frame)
    np.testing.assert_array_equal(median.result(), behind)


def test_what_is_there_in_most_frames_stays():
    median = MedianImage()
    for number in range(10):
        median.add(np.full((2, 3, 3), 200 if number < 6 else 50, np.uint8))
    np.testing.assert_array_equal(median.result(), np.full((2, 3, 3), 200))


@pytest.mark.parametrize("length", [1, 99, 100, 101, 250, 5000])
def test_frames_are_taken_evenly_from_all_of_a_video(length):
    median = MedianImage()
    for number in range(length):
        median.add(np.full((1, 1, 3), round(250 * number / max(1, length - 1)), np.uint8))
    # The middle of a steady rise; half as many frames as are held at most lie 5 apart.
    assert abs(int(median.result()[0, 0, 0]) - (125 if length > 1 else 0)) <= 5


def test_no_more_frames_are_held_than_are_allowed():
    alive: set[int] = set()
    most = 0
    median = MedianImage()
    for number in range(1000):
        frame = np.zeros((1, 1, 3), np.uint8)
        alive.add(number)
        weakref.finalize(frame, alive.discard, number)
        median.add(frame)
        del frame
        most = max(most, len(alive))
    assert most <= MOST_FRAMES
    assert len(alive) > MOST_FRAMES // 2

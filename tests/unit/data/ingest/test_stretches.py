"""A long video read in stretches is the video read at once, however its file likes to be read."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from selfseg.data.format.manifest import SkippedEntry
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest import stretches as module
from selfseg.data.ingest.decoding import BrokenVideoError, Grabbed, grab_all
from selfseg.data.ingest.sources import SourceVideo, inspect
from selfseg.data.ingest.spooling import (
    Ledger,
    spool,
    spool_url,
    spooled,
    survey,
    surveyed,
    unspool,
)
from selfseg.data.ingest.stretches import (
    StrayedError,
    Survey,
    stretch_frames,
    stretches,
    survey_frames,
)
from selfseg.data.ingest.videos import Video, open_video
from tests.odd_films import with_ticks
from tests.synthetic import moving_disc, write_frames, write_masks, write_video

SCENE = moving_disc(45)
SETTINGS = IngestSettings(height=16, gaps=(1, 3), flow="none")
EVERY = 16


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["clip.mp4", "clip.avi", "uneven.mp4", "folder"])
def video(request: pytest.FixtureRequest, tmp_path: Path) -> SourceVideo:
    """A video with masks, some of them in every stretch."""
    path = tmp_path / request.param
    if request.param == "folder":
        write_frames(path, SCENE.frames)
    else:
        write_video(path, SCENE.frames)
    if request.param == "uneven.mp4":
        with_ticks(path, [200, 1848, *[1024] * 7] * 5)
    write_masks(tmp_path / "masks" / path.stem, SCENE.masks[:40])
    found = inspect(path, tmp_path / "masks")
    assert not isinstance(found, SkippedEntry)
    return found


def surveyed_by(source: Video) -> Survey:
    frames, marks = survey_frames(source, EVERY, None)
    return Survey(frames=frames, marks=marks, background=None)


def quiet(_: int) -> None:
    pass


def spooled_bytes(
    url: str, video: SourceVideo, every: int | None, settings: IngestSettings = SETTINGS
) -> tuple[bytes, list[Ledger]]:
    """Spool a video, in stretches of so many frames; None: at once."""
    if every is None:
        ledger = spool(video, url, settings, quiet)
        return Path(spool_url(url, video, settings, "tar")).read_bytes(), [ledger]
    data, ledgers = [], []
    for stretch in stretches(survey(video, url, settings, every)):
        ledgers.append(spool(video, url, settings, quiet, stretch))
        data.append(Path(spool_url(url, video, settings, "tar", stretch)).read_bytes())
    return b"".join(data), ledgers


def test_a_ledger_of_another_version_is_as_good_as_none(tmp_path, video):
    url = str(tmp_path)
    assert spooled(video, url, SETTINGS) is None
    _, [ledger] = spooled_bytes(url, video, None)
    assert spooled(video, url, SETTINGS) == ledger
    Path(spool_url(url, video, SETTINGS, "json")).write_text('{"samples": []}')
    assert spooled(video, url, SETTINGS) is None


def test_stretches_hold_the_very_bytes_of_the_whole(tmp_path, video):
    moving = IngestSettings(height=16, gaps=(1, 3), flow_scale=1, matching_scale=1)
    whole, [ledger] = spooled_bytes(str(tmp_path / "whole"), video, None, moving)
    parts, ledgers = spooled_bytes(str(tmp_path / "parts"), video, EVERY, moving)
    assert parts == whole
    assert len(ledgers) == 3  # of 16, 16 and 13 frames
    keys = [run.key for part in ledgers for run in part.runs]
    assert keys == [run.key for run in ledger.runs]
    assert all(part.video == ledger.video for part in ledgers)


def test_a_jump_leads_to_the_very_frames_without_those_before(video, monkeypatch):
    source = open_video(video.path)
    whole = list(source.frames())
    _, *later = stretches(surveyed_by(source))
    # Nothing is left but to jump.
    monkeypatch.setattr(module, "grab_all", lambda path: islice(grab_all(path), 0))
    for stretch in later:
        found = list(stretch_frames(source, stretch, 3, jump=True))
        expected = whole[stretch.start : stretch.stop + 3]
        assert [(f.number, f.time_s) for f in found] == [(f.number, f.time_s) for f in expected]
        for frame, true in zip(found, expected, strict=True):
            np.testing.assert_array_equal(frame.image, true.image)


def test_a_background_is_that_of_the_whole(tmp_path, video):
    settings = IngestSettings(height=16, gaps=(1,), flow="none", background="median")
    whole = spool(video, str(tmp_path), settings, quiet).video
    assert whole.background
    assert survey(video, str(tmp_path), settings, EVERY).background == whole.background


@pytest.fixture
def clip(tmp_path: Path) -> SourceVideo:
    found = inspect(write_video(tmp_path / "clip.mp4", SCENE.frames), None)
    assert isinstance(found, SourceVideo)
    return found


@pytest.mark.parametrize("late", [0, 5])
def test_where_a_jump_goes_astray_the_video_is_read_from_its_start(
    tmp_path, clip, monkeypatch, late
):
    """By a frame, at once or on the way."""
    strayed = []

    def astray(path: Path, number: int, time_s: float, ahead_s: float) -> Iterator[Grabbed]:
        strayed.append(number)
        for grabbed in grab_all(path):
            if grabbed.number >= number and grabbed.number != number + late:
                shown = grabbed.number - (grabbed.number > number + late)
                yield Grabbed(shown, grabbed.time_s, grabbed.capture)

    whole, _ = spooled_bytes(str(tmp_path / "whole"), clip, None)
    monkeypatch.setattr(module, "grab_from", astray)
    parts, _ = spooled_bytes(str(tmp_path / "parts"), clip, EVERY)
    assert {16, 32} == set(strayed)
    assert parts == whole


def test_a_file_that_changes_after_its_survey_is_broken(clip):
    source = open_video(clip.path)
    _, second, _ = stretches(surveyed_by(source))
    write_video(clip.path, moving_disc(45, seed=9).frames)
    with pytest.raises(StrayedError):
        list(stretch_frames(source, second, 3, jump=True))
    with pytest.raises(BrokenVideoError, match="changes while it is read"):
        list(stretch_frames(source, second, 3, jump=False))


def test_frames_without_a_time_of_their_own_are_not_jumped_to(tmp_path):
    path = write_video(tmp_path / "clip.mp4", SCENE.frames)
    with_ticks(path, [1024] * 16 + [0] * 19 + [1024 * 3] * 10)
    _, second, third = stretches(surveyed_by(open_video(path)))
    assert [second.begin.time_s, third.begin.time_s] == [pytest.approx(1.6), None]


def test_what_was_surveyed_is_known_and_leaves_the_spool_with_its_stretches(tmp_path, clip):
    url = str(tmp_path / "collection")
    other = SourceVideo(clip.path, "other", 45, "f" * 64, None, None)
    spool(other, url, SETTINGS, quiet)
    spooled_bytes(url, clip, EVERY)
    known = surveyed(clip, url, SETTINGS, EVERY)
    assert known
    assert known == survey(clip, url, SETTINGS, EVERY)
    assert all(spooled(clip, url, SETTINGS, stretch) for stretch in stretches(known))
    unspool(url, [clip], SETTINGS, EVERY)
    left = {Path(spool_url(url, other, SETTINGS, suffix)) for suffix in ("json", "tar")}
    assert set((tmp_path / "collection" / "spool").iterdir()) == left

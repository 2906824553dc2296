import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from selfseg import storage
from selfseg.data.format.schema import decode_image, decode_mask
from selfseg.data.ingest.videos import open_video
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.metrics import region_similarity
from selfseg.prediction.predict import Summary, predict
from selfseg.prediction.segment import model_segmenter
from tests.synthetic import Scene, moving_disc, write_frames, write_video
from tests.unit.prediction.scenes import BrightIsForeground, FastIsForeground, model_of


@pytest.fixture
def scene() -> Scene:
    return moving_disc(6, height=96, width=128, radius=20, velocity=(4, 0))


def run(method: object, inputs: list[Path], output: Path | str, **options: Any) -> Summary:
    return predict(
        model_of(method),
        [str(path) for path in inputs],
        str(output),
        device=torch.device("cpu"),
        console=Console(quiet=True),
        **options,
    )


def read_lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


def test_a_video_becomes_masks_of_its_size_overlays_a_film_and_a_line_for_each_frame(
    scene, tmp_path
):
    summary = run(
        FastIsForeground(), [write_video(tmp_path / "disc.mp4", scene.frames)], tmp_path / "out"
    )
    lines = read_lines(tmp_path / "out")
    assert summary.frames == len(lines) == 6
    for line, truth in zip(lines, scene.masks, strict=True):
        mask = decode_mask((tmp_path / "out" / line["mask"]).read_bytes())
        assert mask.shape == truth.shape
        assert region_similarity(mask, truth) > 0.5
        assert line["foreground_share"] == pytest.approx(mask.mean(), abs=1e-5)
        left, top, width, height = line["box"]
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert 0.5 < line["confidence"] <= 1
        overlay = decode_image((tmp_path / "out" / line["overlay"]).read_bytes())
        assert overlay.shape == (96, 128, 3)
    film = open_video(Path(summary.videos[0]))
    assert (film.num_frames, film.height, film.width) == (6, 96, 128)
    _, second, *_ = film.frames()
    assert second.time_s == pytest.approx(0.1, abs=0.01)


def test_a_still_needs_no_motion_from_a_method_that_looks_at_images(scene, tmp_path):
    image = write_frames(tmp_path / "in", scene.frames[:1]) / "00000.png"
    summary = run(BrightIsForeground(), [image], tmp_path / "out")
    (line,) = read_lines(tmp_path / "out")
    assert line["mask"] == "00000/masks/00000.png"
    assert line["time_s"] is None
    assert summary.videos == ()


def test_a_still_is_refused_by_a_method_that_needs_motion(scene, tmp_path):
    image = write_frames(tmp_path / "in", scene.frames[:1]) / "00000.png"
    with pytest.raises(UserError, match="00000: a single image shows no motion"):
        run(FastIsForeground(), [image], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unless_asked_otherwise_a_still_is_seen_by_its_image_and_a_video_by_what_is_best():
    method = SimpleNamespace(views=("fused", "dynamic", "static"))
    still: Any = SimpleNamespace(still=True)
    video: Any = SimpleNamespace(still=False)
    cpu = torch.device("cpu")
    left_open = model_segmenter(model_of(method), gaps=None, device=cpu)
    assert [left_open.view_of(source) for source in (still, video)] == ["static", "fused"]
    asked = model_segmenter(model_of(method), gaps=None, device=cpu, view="dynamic")
    assert [asked.view_of(source) for source in (still, video)] == ["dynamic", "dynamic"]
    motion_only = SimpleNamespace(views=("dynamic",))
    blind = model_segmenter(model_of(motion_only), gaps=None, device=cpu)
    assert blind.view_of(still) == "dynamic"


def test_a_video_of_one_frame_is_refused_as_well(scene, tmp_path):
    folder = write_frames(tmp_path / "short", scene.frames[:1])
    with pytest.raises(UserError, match="short: frame 00000 has no neighbour 1, 2 frames away"):
        run(FastIsForeground(), [folder], tmp_path / "out")


def test_two_videos_of_one_name_get_a_folder_each(scene, tmp_path):
    for place in ("a", "b"):
        write_frames(tmp_path / place / "disc", scene.frames[:3])
    run(BrightIsForeground(), [tmp_path / "a" / "disc", tmp_path / "b" / "disc"], tmp_path / "out")
    assert {line["source"] for line in read_lines(tmp_path / "out")} == {"disc", "disc-2"}


def test_the_crf_brings_the_outline_to_the_colours(tmp_path):
    scene = moving_disc(4, height=240, width=320, radius=50, velocity=(5, 0))
    folder = write_frames(tmp_path / "disc", scene.frames)
    scores = []
    for crf in (False, True):
        run(FastIsForeground(), [folder], tmp_path / f"{crf}", crf=crf)
        data = (tmp_path / f"{crf}" / "disc" / "masks" / "00001.png").read_bytes()
        mask = decode_mask(data)
        scores.append(region_similarity(mask, scene.masks[1]))
    assert scores[1] > scores[0]


def test_a_folder_that_holds_something_else_is_left_alone(scene, tmp_path):
    folder = write_frames(tmp_path / "disc", scene.frames[:3])
    with pytest.raises(UserError, match=r"disc: holds 00000\.png, and no predictions\.jsonl"):
        run(BrightIsForeground(), [folder], folder)
    assert len(list(folder.iterdir())) == 3


def test_earlier_predictions_are_replaced_whole(scene, tmp_path):
    first = write_frames(tmp_path / "first", scene.frames[:3])
    second = write_frames(tmp_path / "second", scene.frames[:3])
    run(BrightIsForeground(), [first], tmp_path / "out")
    run(BrightIsForeground(), [second], tmp_path / "out")
    assert {line["source"] for line in read_lines(tmp_path / "out")} == {"second"}
    left = {path.parts[len(tmp_path.parts) + 1] for path in (tmp_path / "out").rglob("*.*")}
    assert left == {"predictions.jsonl", "second"}


def test_a_run_that_failed_can_be_repeated_into_the_same_folder(scene, tmp_path):
    good = write_frames(tmp_path / "good", scene.frames[:3])
    bad = write_frames(tmp_path / "bad", scene.frames[:3])
    (bad / "00002.png").write_text("no image")
    with pytest.raises(UserError, match=r"bad: 00002\.png is not an image"):
        run(BrightIsForeground(), [good, bad], tmp_path / "out")
    assert {line["source"] for line in read_lines(tmp_path / "out")} == {"good"}
    write_frames(bad, scene.frames[:3])
    assert run(BrightIsForeground(), [good, bad], tmp_path / "out").frames == 6


def test_gaps_the_model_never_saw_are_refused(scene, tmp_path):
    folder = write_frames(tmp_path / "disc", scene.frames)
    with pytest.raises(UsageError, match=r"--gaps 5: .* knows motion over 1,2,3 frames"):
        run(FastIsForeground(), [folder], tmp_path / "out", gaps=(1, 5))
    assert run(FastIsForeground(), [folder], tmp_path / "out", gaps=(3,)).frames == 6


def test_predictions_go_to_a_bucket_too(s3, scene, tmp_path):
    folder = write_frames(tmp_path / "disc", scene.frames[:3])
    output = storage.join(s3, "predictions")
    run(BrightIsForeground(), [folder], output)
    assert storage.listing(output) == [
        *(f"disc/masks/{n:05d}.png" for n in range(3)),
        "disc/overlay.webm",
        *(f"disc/overlays/{n:05d}.jpg" for n in range(3)),
        "predictions.jsonl",
    ]

"""Every benchmark is found in its official tree, and its truth is what the set means by it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from selfseg.data.format.settings import IngestSettings
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.protocols import ANNOTATED_FRAMES, INNER_FRAMES, STILLS
from selfseg.prediction.benchmarks import Benchmark, find_benchmark, held_out
from selfseg.prediction.sources import AnnotatedSource, Preparation, SourceFrame
from selfseg.prediction.video_trees import SEGTRACK
from tests.unit.prediction.trees import block, write_labels, write_list, write_picture

ONE, OTHER = block(0, 0), block(10, 12)
BOTH = ONE | OTHER
WITHOUT_MOTION = Preparation(IngestSettings(height=24, flow="none"), (1,), "none")


def frames_of(source: AnnotatedSource) -> list[SourceFrame]:
    return list(source.frames(WITHOUT_MOTION))


def scored(benchmark: Benchmark) -> dict[str, list[int]]:
    """Return which frames of each video count."""
    return {source.name: sorted(source.shown or ()) for source in benchmark.sources}


def write_frames(folder: Path, names: Iterable[str], suffix: str = ".jpg") -> None:
    for name in names:
        write_picture(folder / f"{name}{suffix}")


def numbers(count: int) -> list[str]:
    return [f"{number:05d}" for number in range(count)]


def davis(root: Path, year: int = 2016, annotations: str = "Annotations") -> Path:
    for name in ("cow", "dog"):
        write_frames(root / "JPEGImages" / "480p" / name, numbers(5))
        for number in numbers(5):
            path = root / annotations / "480p" / name / f"{number}.png"
            if year == 2016:
                write_picture(path, ONE * 255)
            else:
                write_labels(path, ONE * 2 + OTHER * 255)
    lines = [f"/JPEGImages/480p/dog/{n}.jpg /Annotations/480p/dog/{n}.png" for n in numbers(5)]
    lists = root / "ImageSets"
    if year == 2016:
        write_list(lists / "480p" / "val.txt", *lines)
    else:
        write_list(lists / "2017" / "val.txt", "cow", "dog")
        write_list(lists / "2016" / "val.txt", "dog")
    return root


def test_davis16_counts_the_inner_frames_of_the_sequences_its_list_names(tmp_path):
    benchmark = find_benchmark(root=str(davis(tmp_path)), benchmark="davis16")
    assert benchmark.protocol is INNER_FRAMES
    assert scored(benchmark) == {"dog": [1, 2, 3]}
    for frame in frames_of(benchmark.sources[0]):
        np.testing.assert_array_equal(frame.truth, ONE)


def test_davis16_is_also_found_in_the_tree_of_davis17(tmp_path):
    benchmark = find_benchmark(root=str(davis(tmp_path, 2017)), benchmark="davis16")
    assert scored(benchmark) == {"dog": [1, 2, 3]}
    np.testing.assert_array_equal(frames_of(benchmark.sources[0])[0].truth, BOTH)


def test_davis17_merges_its_objects(tmp_path):
    benchmark = find_benchmark(root=str(davis(tmp_path, 2017)), benchmark="davis17")
    assert scored(benchmark) == {"cow": [1, 2, 3], "dog": [1, 2, 3]}
    (frame, *_) = frames_of(benchmark.sources[0])
    np.testing.assert_array_equal(frame.truth, BOTH)
    assert frame.void is None


def test_the_unsupervised_annotation_of_davis17_leaves_pixels_out(tmp_path):
    root = davis(tmp_path, 2017, "Annotations_unsupervised")
    benchmark = find_benchmark(root=str(root), benchmark="davis17", split="val-unsupervised")
    (frame, *_) = frames_of(benchmark.sources[0])
    np.testing.assert_array_equal(frame.truth, ONE)
    np.testing.assert_array_equal(frame.void, OTHER)


def test_fbms59_counts_annotated_frames_and_reads_both_kinds_of_masks(tmp_path):
    grey, coloured = tmp_path / "Testset" / "cars1", tmp_path / "Testset" / "dogs01"
    write_frames(grey, [f"cars1_{n:02d}" for n in range(1, 20)])
    for number in (1, 10, 19):
        write_picture(grey / "GroundTruth" / f"cars1_{number:02d}.pgm", ONE * 85 + OTHER * 255)
    write_frames(coloured, [f"dogs01_{n:04d}" for n in range(1, 6)])
    white = np.full((24, 32, 3), 255)
    white[ONE], white[OTHER] = (255, 255, 0), (0, 0, 255)
    write_picture(coloured / "GroundTruth" / "dogs01_0003_gt.ppm", white)
    write_picture(coloured / "GroundTruth" / "dogs01_0003_PROB_gt.ppm")
    benchmark = find_benchmark(root=str(tmp_path), benchmark="fbms59")
    assert benchmark.protocol is ANNOTATED_FRAMES
    assert scored(benchmark) == {"cars1": [0, 9, 18], "dogs01": [2]}
    for source in benchmark.sources:
        for frame in frames_of(source):
            np.testing.assert_array_equal(frame.truth, BOTH)


@pytest.mark.parametrize(
    ("sequence", "background", "dark"),
    [("marple2", 102, 103), ("marple7", 12, 13), ("other", 25, 26)],
)
def test_the_background_of_fbms59_has_a_level_of_its_own_in_two_sequences(
    sequence, background, dark, tmp_path
):
    folder = tmp_path / "Trainingset" / sequence
    write_frames(folder, [f"{sequence}_001"])
    levels = np.where(ONE, dark, background)
    write_picture(folder / "GroundTruth" / f"{sequence}_001.pgm", levels)
    benchmark = find_benchmark(root=str(tmp_path), benchmark="fbms59", split="train")
    np.testing.assert_array_equal(frames_of(benchmark.sources[0])[0].truth, ONE)


def test_masks_of_fbms59_with_names_of_their_own_are_matched_by_number(tmp_path):
    folder = tmp_path / "Testset" / "tennis"
    write_frames(folder, [f"tennis{n}" for n in range(454, 460)])
    write_picture(folder / "GroundTruth" / "457.pgm", ONE * 255)
    benchmark = find_benchmark(root=str(tmp_path), benchmark="fbms59")
    assert scored(benchmark) == {"tennis": [3]}
    write_picture(folder / "GroundTruth" / "999.pgm", ONE * 255)
    with pytest.raises(UserError, match=r"999\.pgm: belongs to no frame"):
        find_benchmark(root=str(tmp_path), benchmark="fbms59")


def segtrack(root: Path) -> Path:
    for name in SEGTRACK:
        suffix = ".bmp" if name == "girl" else ".png"
        stems = [f"{name}_{n:05d}" for n in range(3)]
        write_frames(root / "JPEGImages" / name, stems, suffix)
        for stem in stems:
            if name == "penguin":
                write_picture(root / "GroundTruth" / name / "1" / f"{stem}.png", ONE * 255)
                write_picture(root / "GroundTruth" / name / "2" / f"{stem}.bmp", OTHER * 255)
            else:
                write_picture(root / "GroundTruth" / name / f"{stem}.png", ONE * 255)
    return root


def test_segtrackv2_counts_every_frame_of_14_sequences_and_merges_their_objects(tmp_path):
    benchmark = find_benchmark(root=str(segtrack(tmp_path)), benchmark="segtrackv2")
    assert benchmark.name == "segtrackv2"
    assert benchmark.protocol is ANNOTATED_FRAMES
    assert scored(benchmark) == {name: [0, 1, 2] for name in SEGTRACK}
    for source in benchmark.sources:
        expected = BOTH if source.name == "penguin" else ONE
        np.testing.assert_array_equal(frames_of(source)[1].truth, expected)


def test_a_frame_of_segtrackv2_without_its_mask_is_told(tmp_path):
    (segtrack(tmp_path) / "GroundTruth" / "worm" / "worm_00001.png").unlink()
    with pytest.raises(UserError, match="GroundTruth/worm lacks masks of frames; unpack it again"):
        find_benchmark(root=str(tmp_path), benchmark="segtrackv2")


def test_youtube_vos_counts_annotated_frames_and_may_use_all_others(tmp_path):
    write_frames(tmp_path / "train" / "JPEGImages" / "003234", ["00000", "00005", "00010"])
    write_frames(tmp_path / "train_all_frames" / "JPEGImages" / "003234", numbers(12))
    for number in ("00000", "00005", "00010"):
        path = tmp_path / "train" / "Annotations" / "003234" / f"{number}.png"
        write_labels(path, ONE * 1 + OTHER * 2)
    sparse = find_benchmark(root=str(tmp_path), benchmark="ytvos")
    assert scored(sparse) == {"003234": [0, 1, 2]}
    dense = find_benchmark(root=str(tmp_path), benchmark="ytvos", split="train_all_frames")
    assert scored(dense) == {"003234": [0, 5, 10]}
    for frame in frames_of(dense.sources[0]):
        np.testing.assert_array_equal(frame.truth, BOTH)


def ski(root: Path, trials: Iterable[int], cameras: Iterable[int] = range(1, 7)) -> Path:
    """Write runs of 9 frames from the 36th on, of which the third and the last have a mask."""
    for name in (f"trial_{trial}_cam{camera}" for trial in trials for camera in cameras):
        stems = [f"frame_{number:06d}" for number in range(36, 45)]
        write_frames(root / "Videos" / name, stems)
        for stem in (stems[2], stems[8]):
            path = root / "Segmentation_masks" / name / f"{stem}.png"
            write_picture(path, ONE * 201 + OTHER * 200)
            path.rename(path.with_suffix(".jpg"))  # lossless, to know every level
    return root


def test_ski_ptz_counts_annotated_frames_of_the_two_runs_of_the_splits_skier(tmp_path):
    root = ski(tmp_path, (103, 302, 309, 405, 412))
    benchmark = find_benchmark(root=str(root), benchmark="ski-ptz")
    assert benchmark.name == "ski-ptz test"
    assert benchmark.protocol is ANNOTATED_FRAMES
    assert scored(benchmark) == {
        f"trial_{trial}_cam{camera}": [2, 8] for trial in (412, 405) for camera in range(1, 7)
    }
    frame = frames_of(benchmark.sources[0])[0]
    assert frame.name == "frame_000038"
    np.testing.assert_array_equal(frame.truth, ONE)
    validation = find_benchmark(root=str(root), benchmark="ski-ptz", split="val")
    assert {source.name[:9] for source in validation.sources} == {"trial_302", "trial_309"}


def test_a_split_without_masks_cannot_be_scored(tmp_path):
    root = ski(tmp_path, (412,), cameras=(1, 2))
    assert find_benchmark(root=str(root), benchmark="ski-ptz").name == "ski-ptz test, 2 of 12"
    with pytest.raises(UserError, match="Ski-PTZ has no masks of split train; choose another"):
        find_benchmark(root=str(root), benchmark="ski-ptz", split="train")


@pytest.mark.parametrize("name", ["handheld190k", "fs-singles"])
def test_sequences_by_split_count_the_frames_that_have_a_mask(name, tmp_path):
    write_frames(tmp_path / "test" / "images" / "axel", numbers(5))
    write_frames(tmp_path / "test" / "images" / "spin", numbers(3), ".png")
    write_frames(tmp_path / "test" / "images" / "nobody", numbers(3))
    write_frames(tmp_path / "val" / "images" / "flip", numbers(3))
    for path in ("test/masks/axel/00001", "test/masks/axel/00004", "test/masks/spin/00000"):
        write_picture(tmp_path / f"{path}.png", ONE * 255 + OTHER * 127)
    benchmark = find_benchmark(root=str(tmp_path), benchmark=name)
    assert benchmark.protocol is ANNOTATED_FRAMES
    assert scored(benchmark) == {"axel": [1, 4], "spin": [0]}
    for source in benchmark.sources:
        for frame in frames_of(source):
            np.testing.assert_array_equal(frame.truth, ONE)
    with pytest.raises(UserError, match=f"not a {name} tree: val/masks is missing"):
        find_benchmark(root=str(tmp_path), benchmark=name, split="val")
    write_picture(tmp_path / "test" / "masks" / "spin" / "00007.png", ONE * 255)
    with pytest.raises(UserError, match=rf"spin/00007\.png: belongs to no frame.*unpack {name}"):
        find_benchmark(root=str(tmp_path), benchmark=name)


@pytest.mark.parametrize(
    ("name", "split", "images", "masks"),
    [
        ("msra-b", None, "", ""),
        ("ecssd", None, "images", "ground_truth_mask"),
        ("dut-omron", None, "DUT-OMRON-image", "pixelwiseGT-new-PNG"),
        ("duts", None, "DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
        ("duts", "train", "DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
        ("stills", None, "images", "masks"),
    ],
)
def test_images_are_found_with_their_masks(name, split, images, masks, tmp_path):
    write_frames(tmp_path / images, ["a", "b"])
    write_picture(tmp_path / masks / "a.png", ONE * 255)
    write_picture(tmp_path / masks / "b.png", OTHER * 200)
    benchmark = find_benchmark(root=str(tmp_path), benchmark=name, split=split)
    assert benchmark.protocol is STILLS
    assert [source.name for source in benchmark.sources] == ["a", "b"]
    for source, expected in zip(benchmark.sources, (ONE, OTHER), strict=True):
        (frame,) = frames_of(source)
        assert source.still
        np.testing.assert_array_equal(frame.truth, expected)
    (tmp_path / masks / "b.png").unlink()
    with pytest.raises(UserError, match=rf"b\.jpg: its mask .*b\.png is missing; unpack {name}"):
        find_benchmark(root=str(tmp_path), benchmark=name, split=split)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("davis16", "JPEGImages/480p and Annotations/480p"),
        ("davis17", "JPEGImages/480p and Annotations/480p"),
        ("fbms59", "Testset/SEQUENCE/*.jpg and Testset/SEQUENCE/GroundTruth/*.pgm or *.ppm"),
        ("segtrackv2", "JPEGImages/SEQUENCE/* and GroundTruth/SEQUENCE/*"),
        ("ytvos", "train/JPEGImages/VIDEO/*.jpg and train/Annotations/VIDEO/*.png"),
        ("ski-ptz", "Videos/trial_412_cam1/frame_000001.jpg ... and Segmentation_masks/ likewise"),
        ("handheld190k", "test/images/SEQUENCE/FRAME.jpg and test/masks/SEQUENCE/FRAME.png"),
        ("fs-singles", "test/images/SEQUENCE/FRAME.jpg and test/masks/SEQUENCE/FRAME.png"),
        ("msra-b", "NAME.jpg and NAME.png side by side"),
        ("ecssd", "images/NAME.jpg and ground_truth_mask/NAME.png"),
        ("dut-omron", "DUT-OMRON-image/NAME.jpg and pixelwiseGT-new-PNG/NAME.png"),
        ("duts", "DUTS-TE/DUTS-TE-Image/NAME.jpg and DUTS-TE/DUTS-TE-Mask/NAME.png"),
        ("stills", "images/NAME.jpg and masks/NAME.png"),
    ],
)
def test_another_tree_is_told_what_belongs_where_in_one_line(name, expected, tmp_path):
    with pytest.raises(UserError) as raised:
        find_benchmark(root=str(tmp_path), benchmark=name)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path}: not a")
    assert expected in message
    assert "\n" not in message


def test_part_of_a_benchmark_never_passes_for_all_of_it(tmp_path):
    assert find_benchmark(root=str(davis(tmp_path))).name == "davis16 val, 1 of 20"
    for name in ("a", "b", "c"):
        write_picture(tmp_path / "images" / f"{name}.jpg")
        write_picture(tmp_path / "masks" / f"{name}.png", ONE * 255)
    assert find_benchmark(root=str(tmp_path), benchmark="stills").name == "stills"


def test_every_nth_of_the_counted_frames_or_images_is_looked_at_and_said_to_be(tmp_path):
    frames = find_benchmark(root=str(davis(tmp_path)), every=2)
    assert scored(frames) == {"dog": [1, 3]}
    assert frames.name == "davis16 val, 1 of 20, every 2"
    assert frames.every == 2
    assert frames.protocol.statement.startswith("one in 2, which is not the official protocol")
    for name in ("a", "b", "c"):
        write_picture(tmp_path / "images" / f"{name}.jpg")
        write_picture(tmp_path / "masks" / f"{name}.png", ONE * 255)
    images = find_benchmark(root=str(tmp_path), benchmark="stills", every=2)
    assert [source.name for source in images.sources] == ["a", "c"]
    assert images.name == "stills, every 2"


def test_what_is_not_there_to_choose_is_told():
    with pytest.raises(UsageError, match="--benchmark magic: choose from davis16, davis17, fbms59"):
        find_benchmark(root="tree", benchmark="magic")
    with pytest.raises(UsageError, match="--split dev: duts has test, train; choose from these"):
        find_benchmark(root="tree", benchmark="duts", split="dev")
    with pytest.raises(UsageError, match="--every 0: must be 1"):
        find_benchmark(root="tree", every=0)
    for root, collection in ((None, None), ("tree", "shards")):
        with pytest.raises(UsageError, match="--benchmark davis16 --root DIR, or --collection URL"):
            find_benchmark(root=root, collection=collection)


def test_a_list_or_a_sequence_that_davis_lacks_is_named(tmp_path):
    root = davis(tmp_path)
    with pytest.raises(UserError, match=r"no list of split train at ImageSets/480p/train\.txt"):
        find_benchmark(root=str(root), split="train")
    write_list(root / "ImageSets" / "480p" / "val.txt", "/JPEGImages/480p/cat/0.jpg x")
    with pytest.raises(UserError, match="sequence cat lacks its frames or masks; unpack it again"):
        find_benchmark(root=str(root))


def test_videos_to_choose_on_are_taken_out_of_what_is_scored(tmp_path):
    benchmark = find_benchmark(root=str(davis(tmp_path, 2017)), benchmark="davis17")
    scored_ones, validation = held_out(benchmark, ("cow",))
    assert [source.name for source in scored_ones.sources] == ["dog"]
    assert [source.name for source in validation.sources] == ["cow"]
    assert scored_ones.name == "davis17 val, 2 of 30 without 1 for validation"
    with pytest.raises(UsageError, match=r"--validation cat: not in davis17.* has cow, dog$"):
        held_out(benchmark, ("cow", "cat"))
    with pytest.raises(UsageError, match=r"--validation cow,dog: these are all of .* name fewer"):
        held_out(benchmark, ("cow", "dog"))
    with pytest.raises(UsageError, match="--validation: name at least one video"):
        held_out(benchmark, ())

"""Make videos of things that move, with their exact masks and boxes: for trials and for tests.

    tools/make_scenes.py scenes/ --videos 6 --frames 120
    tools/make_scenes.py scenes/ --photographs holiday/ --camera still --objects 2
    tools/shard_videos.py scenes/videos --masks scenes/masks --output URL

A camera wanders, turns and zooms over a photograph, before which a jointed figure, coated with
another photograph, wanders and waves. Photographs are one's own, or made up from noise and shapes.
Every pixel belongs to a figure or to the background; no edge is blended. Writes

    OUTPUT/videos/scene_000/00000.png    frames
    OUTPUT/masks/scene_000/00000.png     255 where any figure is, 0 elsewhere
    OUTPUT/boxes.json                    boxes of what is visible of each figure, as COCO lays out

The same command gives the same bytes. Exit status: 0; 1 if a photograph cannot be read or the
output cannot be written; 2 if the command is wrong; 130 after Ctrl-C.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Shaped
from scenes import Settings, scene

from selfseg.data.ingest.videos import still_paths
from selfseg.errors import UsageError, UserError, ends_in_a_line


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="a new or empty folder")
    parser.add_argument(
        "--photographs", type=Path, metavar="DIR",
        help="folder of images; each video has one as its background, figures wear the others",
    )  # fmt: skip
    parser.add_argument("--videos", type=_at_least(1), default=6, metavar="N")
    parser.add_argument("--frames", type=_at_least(2), default=120, metavar="N", help="of a video")
    parser.add_argument(
        "--size", type=_at_least(32), default=256, metavar="PIXELS", help="of a side"
    )
    parser.add_argument("--objects", type=_at_least(1), default=1, metavar="N", help="in a video")
    parser.add_argument("--camera", choices=("moving", "still"), default="moving")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def run(args: argparse.Namespace) -> None:
    """Make what the command asks for, and say where it is."""
    settings = Settings(
        photographs=_photographs(args.photographs, args.videos + args.objects),
        videos=args.videos,
        frames=args.frames,
        size=args.size,
        objects=args.objects,
        moving_camera=args.camera == "moving",
        seed=args.seed,
    )
    output: Path = args.output
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"{output}: is there already; choose a new or empty folder")
    try:
        write(settings, output)
    except OSError as error:
        raise UserError(f"{output}: {error.strerror or error}; choose another folder") from None
    print(f"{settings.videos} videos of {settings.frames} frames: {output / 'videos'}")
    print(f"masks: {output / 'masks'}; boxes: {output / 'boxes.json'}")


def write(settings: Settings, output: Path) -> None:
    """Write all videos with their masks, then the boxes."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for video in range(settings.videos):
        name = f"scene_{video:03d}"
        for folder in ("videos", "masks"):
            (output / folder / name).mkdir(parents=True)
        for number, (frame, labels) in enumerate(scene(settings, video)):
            file = f"{name}/{number:05d}.png"
            _write_png(output / "videos" / file, frame[..., ::-1])
            _write_png(output / "masks" / file, np.where(labels > 0, np.uint8(255), np.uint8(0)))
            image = len(images) + 1
            side = {"width": settings.size, "height": settings.size}
            images.append({"id": image, "file_name": file, **side})
            for figure in range(1, settings.objects + 1):
                visible = labels == figure
                if visible.any():
                    about = {"id": len(annotations) + 1, "image_id": image, "category_id": 1}
                    annotations.append({**about, **_box(visible), "iscrowd": 0})
    categories = [{"id": 1, "name": "figure"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (output / "boxes.json").write_text(json.dumps(document) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the program; a mistake of the user's ends in one line and a non-zero exit."""
    args = parse(arguments)
    interrupted = f"make_scenes: interrupted; empty {args.output} before you repeat the command"
    with ends_in_a_line("make_scenes", interrupted=interrupted):
        run(args)


def _photographs(folder: Path | None, wanted: int) -> tuple[Path, ...]:
    """List the user's photographs, at least as many as are wanted."""
    if folder is None:
        return ()
    if not folder.is_dir():
        raise UsageError(f"--photographs {folder}: no such folder")
    paths = still_paths(folder)
    if len(paths) < wanted:
        raise UsageError(
            f"--photographs {folder}: holds {len(paths)} images; each video's background and each "
            f"of its objects takes its own, so add some to have {wanted}, or lower --videos"
        )
    return tuple(paths)


def _box(visible: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """Describe what is visible: the tight box left, top, width, height, and the area, pixels."""
    return {
        "bbox": list(cv2.boundingRect(visible.astype(np.uint8))),
        "area": int(visible.sum()),
    }


def _write_png(path: Path, pixels: Shaped[np.ndarray, "h w ..."]) -> None:
    done, data = cv2.imencode(".png", pixels)
    assert done
    path.write_bytes(data.tobytes())


def _at_least(least: int) -> Any:
    """Return what reads a number of at least this."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


if __name__ == "__main__":
    main()

"""Turn videos, or single images, into a collection of shards to train on.

    tools/shard_videos.py holiday.mp4 more_videos/ --output s3://bucket/collection
    tools/shard_videos.py photographs/ --stills --output s3://bucket/stills
    tools/shard_videos.py new_videos/ --append --output s3://bucket/collection

Reads video files and folders of frames, measures the motion between neighbouring frames, and
writes WebDataset shards with an index and a manifest. Images become videos of one frame, of any
size. Interrupted, the same command goes on; repeated, it does nothing. What cannot be read is
named and left out.

With --append the collection grows by those videos that it lacks: its shards stay as they are, new
ones come beside them, and a new manifest names all. The old manifest can still be read, as
URL@<the first 8 or more digits of its id>.

Exit status: 0, also if some videos were left out; 1 if none could be read, or the output cannot
be written; 2 if the command is wrong.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from selfseg import storage
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.growing import MEGABYTE
from selfseg.errors import UsageError, ends_in_a_line
from selfseg.runtime.ingest import Job, Outcome, ingest


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    defaults = IngestSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT",
        help="a video, a folder of frames, or a folder of videos and folders of frames",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="URL", help="a folder or s3:// URL")
    parser.add_argument(
        "--append", action="store_true",
        help="add to the collection that is there, under the settings it was made with",
    )  # fmt: skip
    parser.add_argument(
        "--stills", action="store_true",
        help="each INPUT is an image or a folder of images, which show no motion",
    )  # fmt: skip
    parser.add_argument(
        "--masks", type=Path, metavar="ROOT",
        help="ground truth for evaluation: ROOT/<video's name>/00000.png ...; of an image: "
        "ROOT/<its name>.png",
    )  # fmt: skip
    parser.add_argument("--height", type=int, default=defaults.height, help="of stored frames")
    parser.add_argument(
        "--gaps", type=_numbers, metavar="1,2,3",
        help=f"frames between the two ends of a flow; default: {_listed(defaults.gaps)}",
    )  # fmt: skip
    parser.add_argument(
        "--flow", metavar="dis|raft_small|raft_large|none",
        help="how motion is found: by search (default), by a network that wants a GPU, or not at "
        "all",
    )  # fmt: skip
    parser.add_argument(
        "--flow-weights", metavar="URL",
        help="file of torchvision's weights for RAFT; default: downloaded",
    )  # fmt: skip
    parser.add_argument(
        "--background", metavar="median|none",
        help="the scene without what moves, of videos from a camera at rest: the median of frames",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help="processes; default: all CPUs"
    )
    parser.add_argument("--shard-megabytes", type=_positive, default=128, metavar="M")
    return parser.parse_args(arguments)


def run(args: argparse.Namespace, console: Console) -> None:
    """Ingest, and say what came of it."""
    chosen = {"height": args.height, **_motion(args)}
    job = Job(
        inputs=tuple(args.inputs),
        output=_absolute(args.output),
        masks_root=args.masks,
        settings=IngestSettings.parse(chosen, origin="shard_videos"),
        shard_bytes=args.shard_megabytes * MEGABYTE,
        workers=args.workers,
        stills=args.stills,
        append=args.append,
    )
    summarise(ingest(job, console), args.output, console)


def summarise(outcome: Outcome, url: str, console: Console) -> None:
    """Print what the collection holds and what was left out."""
    manifest = outcome.manifest

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    for video in manifest.skipped:
        say(f"left out: {video.name}: {video.reason}")
    say(
        f"{len(manifest.videos)} videos, {manifest.frames} frames, {decimal(manifest.size)} "
        f"in {len(manifest.shards)} shards; {len(manifest.skipped)} left out"
    )
    done = "nothing to do, it is there" if outcome.was_there else "written"
    origin = f", grown from {manifest.parent}" if manifest.parent else ""
    say(f"{url}: {done}; manifest {outcome.manifest_id}{origin}")


def main(arguments: list[str] | None = None) -> None:
    """Run the program; a mistake of the user's ends in one line and a non-zero exit."""
    args = parse(arguments)
    interrupted = "shard_videos: interrupted; the same command goes on from here"
    with ends_in_a_line("shard_videos", interrupted=interrupted):
        run(args, Console(stderr=False))


def _motion(args: argparse.Namespace) -> dict[str, Any]:
    """Say how motion and what is at rest are found, as far as the command says it."""
    options = {
        "gaps": args.gaps,
        "flow": args.flow,
        "flow_weights": args.flow_weights,
        "background": args.background,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if args.stills:
        for name in given:
            option = name.replace("_", "-")
            raise UsageError(f"--{option}: nothing moves in stills; leave it out, or --stills")
        return {"flow": "none"}
    if "flow_weights" in given:
        if not given.get("flow", "").startswith("raft"):
            raise UsageError(
                "--flow-weights: only RAFT has any; add --flow raft_small or raft_large"
            )
        given["flow_weights"] = _absolute(given["flow_weights"])
    return given


def _absolute(url: str) -> str:
    """Say where a path leads from wherever the work is done."""
    return url if storage.is_remote(url) else str(Path(url).absolute())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


if __name__ == "__main__":
    main()

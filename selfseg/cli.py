"""selfseg: learns to find and outline moving things in videos, without a label."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from selfseg.config import parse_change, parse_workers
from selfseg.errors import UsageError, ends_in_a_line

if TYPE_CHECKING:
    from rich.console import Console

    from selfseg.prediction.subjects import Subject

VIEWS = ("dynamic", "static", "fused")

PAGE_WIDTH = 160
"""Columns of output that no terminal limits."""

# Each command imports what it runs when it runs: torch and Ray take seconds to load, and
# neither `--help` nor a misspelt option should wait for them.
# ruff: noqa: PLC0415


def train(args: argparse.Namespace) -> None:
    """Train a recipe on a collection, or go on where the run stopped."""
    from selfseg.experiment import read_recipe
    from selfseg.runtime.ray_train import train as launch

    changes = dict(map(parse_change, args.set))
    config = read_recipe(args.recipe).override(changes)
    launch(
        config,
        collection_url=args.collection,
        run_url=args.run,
        workers=parse_workers(args.workers),
        wandb=args.wandb,
        command=shlex.join(["selfseg", *sys.argv[1:]]),
    )
    print(
        f"\nNext:\n  selfseg evaluate {args.run} --collection {args.collection}"
        f"\n  selfseg predict {args.run} VIDEO --output masks"
        f"\n  selfseg report {args.run}"
    )


def evaluate(args: argparse.Namespace) -> None:
    """Score a checkpoint, and classical baselines beside it, without the ground truth's help."""
    from selfseg.evaluation.scores import comparison
    from selfseg.prediction.benchmarks import find_benchmark, held_out
    from selfseg.prediction.evaluate import evaluate as score
    from selfseg.prediction.evaluate import keep, record, with_thresholds, write_json

    subjects = list(subjects_of(args))
    if not subjects:
        raise UsageError("nothing to score: give a checkpoint, a run, or --baseline NAME")
    benchmark = find_benchmark(
        root=args.root,
        benchmark=args.benchmark,
        split=args.split,
        collection=args.collection,
        every=args.every,
    )
    validation = None
    if args.validation is not None:
        benchmark, validation = held_out(benchmark, args.validation)
    records, scores, console = [], [], page()
    for subject in [each.settled(benchmark) for each in subjects]:
        chosen = with_thresholds(benchmark, subject, validation) if validation else benchmark
        scores.append(score(subject, chosen))
        records.append(record(subject, chosen, scores[-1]))
        console.print(scores[-1].table())
    if len(scores) > 1:
        console.print(comparison(scores))
    if args.checkpoint:
        keep(args.checkpoint, records)
    if args.json:
        write_json(args.json, {**records[0], "beside": records[1:]})


def subjects_of(args: argparse.Namespace) -> "Iterator[Subject]":
    """Yield what `evaluate` is asked to score: a checkpoint round by round, then baselines."""
    from selfseg.prediction.baselines import SUPERVISED
    from selfseg.prediction.segment import compute_device
    from selfseg.prediction.subjects import Subject

    device = str(compute_device(args.device))
    common = {"gaps": args.gaps, "crf": args.crf, "device": device}
    if args.checkpoint:
        own = {"checkpoint": args.checkpoint, "augment": args.augment, **common}
        for number, view in product(args.round or [None], args.view or [None]):
            yield Subject(round=number, view=view, **own)
    if args.baseline_weights and SUPERVISED not in args.baseline:
        raise UsageError(f"--baseline-weights: these are of --baseline {SUPERVISED}; name it, too")
    trained = {"weights": args.baseline_weights} if args.baseline_weights else {}
    for name in args.baseline:
        yield Subject(baseline=name, **trained, **common)


def predict(args: argparse.Namespace) -> None:
    """Segment images, folders of frames and videos: masks, overlays, a line for each frame."""
    from selfseg.experiment import load_model, round_checkpoint
    from selfseg.prediction.predict import predict as segment
    from selfseg.prediction.segment import compute_device

    device = compute_device(args.device)
    url = args.checkpoint if args.round is None else round_checkpoint(args.checkpoint, args.round)
    summary = segment(
        load_model(url, device),
        args.inputs,
        args.output,
        gaps=args.gaps,
        view=args.view,
        augment=args.augment,
        crf=args.crf,
        threshold=args.threshold,
        objects=args.objects,
        device=device,
    )
    print(
        f"{summary.output}: masks and overlays of {summary.frames} frames in "
        f"{summary.seconds:.0f} s"
    )
    for video in summary.videos:
        print(f"  {video}")


def report(args: argparse.Namespace) -> None:
    """Write the run's report, one self-contained HTML file."""
    from selfseg.reporting.report import write_report

    print(write_report(args.run))


def table(args: argparse.Namespace) -> None:
    """Print a table of a paper, and below its numbers what runs scored, over their seeds."""
    from selfseg.reporting.tables import compare, write_json

    comparison = compare(args.table, args.runs)
    console = page()
    console.print(comparison.table())
    for number, command in enumerate(comparison.footnotes, 1):
        # Unwrapped, so that it can be copied.
        console.print(f"[{number}] {command}", markup=False, highlight=False, soft_wrap=True)
    if args.json:
        write_json(args.json, comparison)


def show(args: argparse.Namespace) -> None:
    """Print what a collection knows of one sample; draw its frame, flow, own motion and mask."""
    from selfseg.reporting.sample import show_sample

    for line in show_sample(args.collection, args.key, gap=args.gap, output=args.output):
        print(line)


def page() -> "Console":
    """Return where tables are printed; a file, or another program, takes wide ones too."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PAGE_WIDTH)


def gaps(text: str) -> tuple[int, ...]:
    """Read a list of gaps, e.g. "1,2,3"."""
    return tuple(map(int, text.split(",")))


def names(text: str) -> tuple[str, ...]:
    """Read a list of names, e.g. "cow,dog"; a name that is said twice counts once."""
    return tuple(dict.fromkeys(filter(None, text.split(","))))


def build_parser() -> argparse.ArgumentParser:
    """Declare every command and option."""
    parser = argparse.ArgumentParser(prog="selfseg", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("train", help=train.__doc__)
    command.set_defaults(run_command=train)
    command.add_argument("recipe", metavar="RECIPE", help="a recipe's name, or a TOML file")
    command.add_argument("--collection", required=True, metavar="URL", help="what to learn from")
    command.add_argument("--run", required=True, metavar="URL", help="where to keep the run")
    command.add_argument(
        "--workers", default="1", metavar="N", help="training processes; FEWEST:MOST: as fit"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="change one setting"
    )
    command.add_argument(
        "--wandb", choices=["offline", "online"], help="also log to Weights & Biases"
    )

    command = commands.add_parser("evaluate", help=evaluate.__doc__)
    command.set_defaults(run_command=evaluate)
    command.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="or a run's URL")
    command.add_argument(
        "--benchmark", default="davis16", metavar="NAME",
        help="davis16, davis17, fbms59, segtrackv2, ytvos; images: msra-b, ecssd, dut-omron, "
        "duts, or stills for your own, images/ and masks/; default: davis16",
    )  # fmt: skip
    command.add_argument("--root", metavar="DIR", help="the benchmark's official folder tree")
    command.add_argument("--split", help="of the benchmark; default: what is published")
    command.add_argument("--collection", metavar="URL", help="score on its videos with masks")
    command.add_argument(
        "--baseline", action="append", default=[], metavar="NAME",
        help="also score a classical method: flow-otsu, mog2, knn or centre; for images "
        "boundary-connectivity, grabcut or centre; or a supervised one, mask-rcnn; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--baseline-weights", metavar="FILE",
        help="or a URL: what mask-rcnn learned; default: torchvision's, of COCO, downloaded",
    )  # fmt: skip
    command.add_argument(
        "--every", type=int, default=1, metavar="N",
        help="only every Nth frame that counts, or image: quick, and not the official protocol",
    )  # fmt: skip
    command.add_argument(
        "--validation", type=names, metavar="NAME,NAME",
        help="videos, or images, to choose the masks' threshold on, by mean J from 0.05, 0.10 ... "
        "0.95; they are not scored; without it the threshold is 0.5",
    )  # fmt: skip
    command.add_argument("--json", metavar="FILE", help="also write the scores there")
    command.add_argument(
        "--view", action="append", choices=VIEWS,
        help="what is looked at: motion, a single image, or both (default); may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--round", action="append", type=int, metavar="K",
        help="the run's checkpoint after round K, not its newest; may be repeated",
    )  # fmt: skip
    add_inference_options(command)

    command = commands.add_parser("predict", help=predict.__doc__)
    command.set_defaults(run_command=predict)
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="or a run's URL")
    command.add_argument("inputs", nargs="+", metavar="INPUT", help="image, folder, video, s3://")
    command.add_argument("--output", required=True, metavar="DIR", help="a folder or s3:// URL")
    command.add_argument(
        "--view", choices=VIEWS, help="what is looked at: motion, a single image, or both"
    )
    command.add_argument(
        "--round", type=int, metavar="K", help="the run's checkpoint after round K, not its newest"
    )
    command.add_argument(
        "--objects", type=int, metavar="K",
        help="find at most K objects in each frame, one by one (default: 1); only of methods that "
        "look for objects",
    )  # fmt: skip
    command.add_argument(
        "--threshold", type=float, default=0.5, metavar="T",
        help="above which value of its masks the model means foreground: what `evaluate "
        "--validation` chose, with --crf or without (default: 0.5)",
    )  # fmt: skip
    add_inference_options(command)

    command = commands.add_parser("report", help=report.__doc__)
    command.set_defaults(run_command=report)
    command.add_argument("run", metavar="RUN", help="folder or s3:// URL of a run")

    command = commands.add_parser("table", help=table.__doc__)
    command.set_defaults(run_command=table)
    command.add_argument("table", metavar="PAPER/N", help="a paper's table, e.g. dystab/5")
    command.add_argument("runs", nargs="*", metavar="RUN", help="folders or s3:// URLs of runs")
    command.add_argument("--json", metavar="FILE", help="also write it there, with every score")

    command = commands.add_parser("show", help=show.__doc__)
    command.set_defaults(run_command=show)
    command.add_argument("collection", metavar="URL", help="of the collection, or URL@ID")
    command.add_argument("key", metavar="KEY", help="a sample's key, or VIDEO/FRAME, e.g. bear/7")
    command.add_argument(
        "--gap", type=int, metavar="N", help="frames that the flow spans; default: the fewest"
    )
    command.add_argument(
        "--output", metavar="FILE.png", help="or s3:// URL; default: KEY.png, in this folder"
    )
    return parser


def add_inference_options(command: argparse.ArgumentParser) -> None:
    """Declare what prediction and scoring have in common."""
    command.add_argument("--crf", action="store_true", help="refine masks by a dense CRF")
    command.add_argument(
        "--augment", action="store_true", help="average over crops and mirror images: slower"
    )
    command.add_argument(
        "--gaps", type=gaps, metavar="1,2,3", help="frames between the ends of a motion"
    )
    command.add_argument("--device", metavar="cpu|cuda", help="default: a GPU if there is one")


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a mistake of the user's ends in one line and a non-zero exit."""
    args = build_parser().parse_args(arguments)
    with ends_in_a_line("selfseg"):
        args.run_command(args)

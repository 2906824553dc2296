"""`selfseg evaluate` and `selfseg predict`."""

import argparse
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from selfseg.cli.arguments import VIEWS, add_inference_options, names, page
from selfseg.errors import UsageError

if TYPE_CHECKING:
    from selfseg.prediction.subjects import Subject

# ruff: noqa: PLC0415 - what a command runs is imported when it runs, see `selfseg.cli`


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


def evaluate_options(command: argparse.ArgumentParser) -> None:
    """Declare what `evaluate` takes."""
    _subject_options(command)
    _benchmark_options(command)
    add_inference_options(command)


def _subject_options(command: argparse.ArgumentParser) -> None:
    """Declare what is scored."""
    command.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="or a run's URL")
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
        "--view", action="append", choices=VIEWS,
        help="what is looked at: motion, a single image, or both (default); may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--round", action="append", type=int, metavar="K",
        help="the run's checkpoint after round K, not its newest; may be repeated",
    )  # fmt: skip


def _benchmark_options(command: argparse.ArgumentParser) -> None:
    """Declare on what, and how."""
    command.add_argument(
        "--benchmark", default="davis16", metavar="NAME",
        help="davis16, davis17, fbms59, segtrackv2, ytvos; images: msra-b, ecssd, dut-omron, "
        "duts, or stills for your own, images/ and masks/; default: davis16",
    )  # fmt: skip
    command.add_argument("--root", metavar="DIR", help="the benchmark's official folder tree")
    command.add_argument("--split", help="of the benchmark; default: what is published")
    command.add_argument("--collection", metavar="URL", help="score on its videos with masks")
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


def predict_options(command: argparse.ArgumentParser) -> None:
    """Declare what `predict` takes."""
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

"""`selfseg train`."""

import argparse
import shlex
import sys

from selfseg.config import parse_change, parse_workers

# ruff: noqa: PLC0415 - what a command runs is imported when it runs, see `selfseg.cli`


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


def train_options(command: argparse.ArgumentParser) -> None:
    """Declare what `train` takes."""
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

"""What all sweeps have in common: their options, and the way from a plan to a table.

    python sweeps/proposal_table4.py --collection URL --output URL [--size cpu]

The same command goes on where it was stopped: trials that are over are not run again, the others
go on from their newest checkpoints, and those that failed are tried again.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from selfseg import storage
from selfseg.cli.arguments import at_least, names, page
from selfseg.config import parse_change
from selfseg.data.format.manifest import Manifest
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError, ends_in_a_line
from selfseg.reporting import wording
from selfseg.reporting.sweep_page import write_sweep_report
from selfseg.reporting.sweep_table import as_table, compared
from selfseg.runtime.cluster import connect
from selfseg.runtime.ray_train import anywhere
from selfseg.runtime.sweep import neighbours, run, rungs, slots
from selfseg.runtime.trial import Work, check_folders, experiment, score_test
from selfseg.sweep import growing
from selfseg.sweep.choice import Chosen, choose, read_chosen, score_chosen
from selfseg.sweep.estimate import seconds_left
from selfseg.sweep.growing import moments
from selfseg.sweep.pinned import pin, pinned, state_of
from selfseg.sweep.plan import Halving, Size, Sweep, Trial, plan
from selfseg.sweep.ran import Ran
from selfseg.sweep.results import Failure, Result, as_csv, as_parquet, read_results
from selfseg.sweep.scoring import Ground, check
from selfseg.training import attempts, wandb_log

TABLE, NUMBERS = "results.csv", "results.parquet"
"""The same rows: to be looked at, and to be computed with."""

GROWING = "growing.csv"


def main(build: Callable[[Size], Sweep], arguments: Sequence[str] | None = None) -> None:
    """Run one sweep's command; a mistake of the user's ends in one line and a non-zero exit."""
    args = build_parser(build).parse_args(arguments)
    with ends_in_a_line(Path(sys.argv[0]).name, interrupted="stopped: the same command goes on"):
        perform(build(args.size), args)


def perform(sweep: Sweep, args: argparse.Namespace) -> None:
    """Plan, run what is left, and show all that there is.

    Raises:
        UserError: something cannot be used, or trials failed.
    """
    output = anywhere(args.output)
    collection = Collection.open(pinned(anywhere(args.collection), output))
    ground = ground_of(sweep, args, collection)
    trials = plan_of(sweep, args, collection, output, ground)
    check_folders(trials, collection, output=output)
    halving = rungs(args.scheduler, sweep.halving)
    if args.wandb is not None:
        wandb_log.check(output, args.wandb, option="--output")
    check(ground, sweep.measure)
    connect(args.workers)
    if args.dry_run:
        announce(trials, halving, args.workers)
        return
    storage.probe(output)
    pin(collection, output)
    began = time.time()
    attempts.take_over(output, began)
    tabulated = partial(
        tabulate,
        sweep,
        trials,
        manifest=collection.manifest,
        output=output,
        changes=args.set,
    )
    try:
        ran = run(
            trials,
            work_of(sweep, args, collection, ground, began),
            halving=halving,
            at_once=slots(args.workers),
            retries=args.retries,
            console=page(),
        )
    except KeyboardInterrupt:
        print(tabulated(read_results(trials)))
        raise
    results = read_results(trials)
    # Also where the test part cannot be scored, what was trained for is there.
    tabulated(results, failures=ran.failures)
    chosen = chosen_of(trials, results, ran.failures, ground, args)
    report = tabulated(results, failures=ran.failures, chosen=chosen)
    show(sweep, trials, results, chosen)
    print(report)
    account(ran, output, len(trials))


def work_of(
    sweep: Sweep, args: argparse.Namespace, collection: Collection, ground: Ground, began: float
) -> Work:
    """Return what is done in a trial, by the command that began then."""
    output = anywhere(args.output)
    return experiment(
        state_of(collection),
        ground,
        workers=args.workers,
        beside=neighbours(args.workers),
        command=shlex.join(["python", *sys.argv]),
        wandb=args.wandb,
        held=partial(attempts.check_held, output, began),
        group=group_of(sweep, output),
    )


def group_of(sweep: Sweep, output: str) -> str:
    """Name a sweep's runs where other runs are as well: by its table and its folder."""
    return f"{sweep.table.replace('/', ' ')}, {output.rstrip('/').rpartition('/')[2]}"


def chosen_of(
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    failures: Sequence[Failure],
    ground: Ground,
    args: argparse.Namespace,
) -> Chosen | None:
    """Score the best cell on the test part, once all trials of the sweep are over.

    What failed may be better once it is tried again, and the test part is looked at once.
    """
    own = choose(trials, results)
    if not own or failures or args.trials is not None:
        return None
    score = partial(score_test, ground=ground, measure=own[0].measure, workers=args.workers)
    return score_chosen(anywhere(args.output), own, score)


def tabulate(
    sweep: Sweep,
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    *,
    manifest: Manifest,
    output: str,
    changes: Sequence[str],
    failures: Sequence[Failure] = (),
    chosen: Chosen | None = None,
) -> str:
    """Write the tables and the report of what there is by now; return the report's URL."""
    storage.write(storage.join(output, TABLE), as_csv(trials, results, failures).encode())
    storage.write(storage.join(output, NUMBERS), as_parquet(trials, results, failures))
    found = moments(trials, results, manifest) if sweep.continual else []
    if found:
        storage.write(storage.join(output, GROWING), growing.as_csv(found).encode())
    return write_sweep_report(
        output,
        sweep,
        trials,
        results,
        failures=failures,
        chosen=chosen,
        earlier=read_chosen(output),
        moments=found,
        changes=changes,
    )


def show(
    sweep: Sweep,
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    chosen: Chosen | None,
) -> None:
    """Print our table, and what was chosen."""
    page().print(as_table(sweep, compared(sweep, trials, results)))
    if chosen is not None:
        name = sweep.measure.name
        scores = ", ".join(f"{record[name]:.3f}" for record in chosen.records)
        print(f"best on the validation part: {chosen.cell}; {name} on the test part: {scores}")


def ground_of(sweep: Sweep, args: argparse.Namespace, collection: Collection) -> Ground:
    """Return what trials are scored on: a benchmark's tree, or a collection with masks."""
    chosen = {"validation": args.validation or (), "every": args.every}
    if args.root is None and (args.benchmark or args.split):
        raise UsageError("--benchmark, --split: say where its tree is, by --root DIR")
    if args.split and not args.benchmark:
        raise UsageError("--split: of which benchmark? Add --benchmark NAME")
    if args.root and args.score_on:
        raise UsageError("--score-on, --root: give one of them")
    if args.root is None:
        scored = Collection.open(anywhere(args.score_on)) if args.score_on else collection
        # Should it grow, all trials are scored anew, and on the same videos.
        return Ground(collection=state_of(scored), **chosen)
    root = anywhere(args.root)
    if args.benchmark is None:
        return Ground(root=root, benchmark=sweep.benchmark, splits=sweep.splits, **chosen)
    return Ground(root=root, benchmark=args.benchmark, splits=(args.split, None), **chosen)


def plan_of(
    sweep: Sweep, args: argparse.Namespace, collection: Collection, output: str, ground: Ground
) -> list[Trial]:
    """Resolve the trials that were asked for."""
    return plan(
        replace(sweep, cells=sweep.cells[: args.trials]),
        output=output,
        seeds=args.seeds or sweep.seeds,
        changes=dict(map(parse_change, args.set)),
        depends_on={"manifest": collection.manifest_id, "ground": ground.as_json()},
    )


def announce(trials: Sequence[Trial], halving: Halving, workers: int) -> None:
    """Say what would run, where, and for how long."""
    results = read_results(trials)
    for trial in trials:
        found = results.get(trial.name)
        steps = ", ".join(map(str, halving.steps(trial.config)))
        state = f"{found.status} at step {found.steps}" if found else "to run"
        print(f"{trial.name}: {trial.cell.recipe}, scored at step {steps}: {state}")
    at_once = slots(workers)
    seconds, source = seconds_left(trials, halving, results)
    time = "unknown time" if seconds is None else f"about {wording.duration(seconds / at_once)}"
    print(
        f"{wording.plural(len(trials), 'trial')}, {at_once} at once of "
        f"{wording.plural(workers, 'worker')} each; {time}, {source}"
    )


def account(ran: Ran, output: str, total: int) -> None:
    """Say what this command did.

    Raises:
        UserError: trials failed.
    """
    if ran.names:
        print(
            f"ran {len(ran.names)} of {wording.plural(total, 'trial')} in "
            f"{wording.duration(ran.wall_s)}; devices were idle between trials for "
            f"{wording.percent(ran.idle_share)} of it and for "
            f"{wording.percent(ran.left_over_share)} once the last had begun, and trials spent "
            f"{wording.percent(ran.starting_share)} of their time on starting"
        )
    else:
        print(f"all {wording.plural(total, 'trial')} were over already")
    for failure in ran.failures:
        url = storage.join(output, "failures", f"{failure.trial}.txt")
        storage.write(url, failure.traceback.encode())
        print(f"failed: {failure.trial}: {failure.cause} (see {url})", file=sys.stderr)
    if ran.failures:
        raise UserError(
            f"{len(ran.failures)} of {wording.plural(total, 'trial')} failed: the same command "
            "tries them again"
        )


def build_parser(build: Callable[[Size], Sweep]) -> argparse.ArgumentParser:
    """Declare every option."""
    parser = argparse.ArgumentParser(
        description=sys.modules[build.__module__].__doc__,
        epilog="The same command goes on where it was stopped; nothing that is done is done again.",
    )
    option = parser.add_argument
    option("--size", choices=["full", "cpu"], default="full", help="of the recipes")
    option("--collection", required=True, metavar="URL", help="what all trials learn from")
    option("--output", required=True, metavar="URL", help="where to keep the sweep")
    option("--score-on", metavar="URL", help="another collection, with masks, to score on")
    option("--root", metavar="DIR", help="or the tree of the benchmark that the paper chose by")
    option("--benchmark", metavar="NAME", help="of this tree, if not the paper's")
    option("--split", help="of --benchmark; half of it chooses, the test part is the other half")
    option(
        "--validation", type=names, metavar="NAME,NAME",
        help="videos to choose by; the others are the test part (default: every other video)",
    )  # fmt: skip
    option("--every", type=at_least(1), default=1, metavar="N", help="score only every Nth frame")
    option("--trials", type=at_least(1), metavar="N", help="only the first N cells, and no test")
    option("--seeds", type=at_least(1), metavar="N", help="runs of each cell")
    option(
        "--workers", type=at_least(1), default=1, metavar="N", help="training processes of a trial"
    )
    option(
        "--set", action="append", default=[], metavar="a.b=value", help="change it in all trials"
    )
    option(
        "--scheduler", default="grid", metavar="grid|asha",
        help="train every trial to its end (default), or only those that are good on the way",
    )  # fmt: skip
    option(
        "--retries", type=at_least(0), default=1, metavar="N",
        help="times that a trial that fails on its way to a score is begun again (default: 1)",
    )  # fmt: skip
    option(
        "--wandb", choices=["offline", "online"],
        help="also log all trials to Weights & Biases, as one group",
    )  # fmt: skip
    option("--dry-run", action="store_true", help="only say what would run")
    return parser

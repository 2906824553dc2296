"""How fast collections are read, beside webdataset, mosaicml-streaming and litdata.

    make bench-data                                        (an environment of its own)
    tools/bench_data.py [--samples N] [--repetitions R] [--seconds S] [--figure FILE.svg]

All read the same JPEG frames of about 137 kB, each from its own format as its documentation
advises (webdataset: from our tars), in batches of 32, shuffled, in the same run. Every measurement
is repeated R times, each time in a fresh process, all libraries in turn; the median counts.

    raw        samples/s as files, from the page cache, for S seconds after the first batch
    decoded    the same as a tensor of RGB frames; `memory` decodes files that it holds in memory
    first      seconds from opening to the first raw batch; imports are not counted
    resume     the same after a pause in the middle of an epoch, if the right batch comes
    cold       samples/s of a whole epoch from an S3 server on this machine, with nothing in a cache
    bytes      what the server sent meanwhile, over what is stored

Then how opening and reading our own collections grows with samples and shards, up to
`--largest` samples. Prints tables; FILE.svg draws them.
"""

import argparse
import os
import tempfile
from pathlib import Path

from data_bench.comparing import Plan, compare
from data_bench.growth import growth
from data_bench.measuring import serve
from data_bench.reading import BATCH
from data_bench.showing import comparison_table, drawing, growth_table, reasons
from rich.console import Console


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=4000, help="frames (default: 4000)")
    parser.add_argument("--repetitions", type=int, default=5, help="of all (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="each rate (default: 1)")
    parser.add_argument("--largest", type=int, default=10**6, help="made-up collection")
    parser.add_argument("--figure", type=Path, default=Path("bench_data.svg"))
    parser.add_argument("--folder", type=Path, help="for samples; needs 5 GB (default: temporary)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Read the command line, measure, print."""
    arguments = _arguments()
    if arguments.serve:
        serve(arguments.serve)
        return
    # What is compared is reading: one thread for each process.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    samples = max(4, arguments.samples // BATCH) * BATCH
    console = Console(width=160, markup=False, emoji=False)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        plan = Plan(Path(folder), samples, arguments.repetitions, arguments.seconds)
        results = compare(plan)
    console.print(comparison_table(results))
    console.print(*reasons(results), sep="\n")
    by_samples, by_shards = growth(arguments.largest)
    console.print(growth_table(by_samples, by_shards))
    arguments.figure.write_text(drawing(results, by_samples, by_shards))
    console.print(f"Figure: {arguments.figure}")


if __name__ == "__main__":
    main()

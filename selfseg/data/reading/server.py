"""The process that loader processes are forked from, apart, so that it can be started early.

Nothing heavy may be imported here: who starts it early has not imported what loaders need.
"""

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

PRELOADED = ["selfseg.data.reading.processes", "selfseg.data.reading.parts"]


def context() -> ForkServerContext:
    """Start loader processes from a server without threads.

    A plain fork would copy locks that threads of gloo, boto3 or Ray hold. The server imports
    what a loader process needs once, so that further ones start at once.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    return server


def start() -> None:
    """Start the server, if it does not run yet, and do not wait for it."""
    context()
    with without_main():
        forkserver.ensure_running()


@contextmanager
def without_main() -> Iterator[None]:
    """Let processes that are started not import the main program, which may import anything.

    Loaders have no use for it. Ray's takes half a second, one that imports torch two.
    """
    main = vars(sys.modules["__main__"])
    names = {name: main.get(name) for name in ("__file__", "__spec__")}
    main.update(dict.fromkeys(names))
    try:
        yield
    finally:
        main.update(names)

"""The process that loader processes are forked from, apart, so that it can be started early.

Nothing heavy may be imported here: who starts it early has not imported what loaders need.
"""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

LOADER = "selfseg.data.reading.loader"


def context() -> BaseContext:
    """Start loader processes from a server without threads.

    A plain fork would copy locks that threads of gloo, boto3 or Ray hold. The server imports
    what a loader process needs once, so that further ones start at once.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["__main__", LOADER])
    return server


def start() -> None:
    """Start the server, if it does not run yet, and do not wait for it."""
    context()
    forkserver.ensure_running()

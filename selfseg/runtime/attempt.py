"""What Ray Train does at each attempt, so that the workers take their first step soon."""

import gc
import traceback
from collections.abc import Callable
from typing import Any

from ray import cloudpickle
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2.api.callback import RayTrainCallback

from selfseg.data.reading import server
from selfseg.errors import UserError


class Trainer(TorchTrainer):
    """Ray Train's, without the actor that hands out Ray's datasets: a run has none.

    At every attempt it would be a process that takes two seconds of a CPU to start.
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        callbacks = super()._create_default_callbacks()
        return [each for each in callbacks if not isinstance(each, DatasetsCallback)]


def in_worker(
    program: Callable[[dict[str, Any]], None], *, loaders: bool
) -> Callable[[dict[str, Any]], None]:
    """Let errors keep the worker's traceback, which pickling them would drop.

    Args:
        program: what the worker does; what it needs is imported only there.
        loaders: whether the worker will have loader processes; their server then imports what
            they need while the worker imports what `program` needs.
    """
    pickled = cloudpickle.dumps(program)  # pyright: ignore[reportPrivateImportUsage] # re-exported

    def run(settings: dict[str, Any]) -> None:
        try:
            if loaders:
                server.start()
            _imported(pickled)(settings)
        except UserError:
            raise
        except Exception as error:
            error.add_note(traceback.format_exc())
            raise

    return run


def _imported(pickled: bytes) -> Callable[[dict[str, Any]], None]:
    """Unpickle the program, which is to import what it needs."""
    # Looking for garbage, of which imports make none, would take a fifth of their time.
    gc.disable()
    try:
        return cloudpickle.loads(pickled)
    finally:
        gc.enable()

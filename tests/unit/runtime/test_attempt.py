"""What is spared at each attempt: Ray's actor for datasets, and waiting for the loaders' server."""

import gc
import subprocess
import sys
from typing import Any, ClassVar, Self

from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback

from selfseg.runtime.attempt import Trainer, in_worker


def callbacks(kind: type[TorchTrainer]) -> list[type[Any]]:
    trainer = kind(lambda: None, scaling_config=ScalingConfig(num_workers=2))
    return [type(each) for each in trainer._create_default_callbacks()]


def test_of_ray_trains_own_callbacks_only_the_one_for_datasets_is_left_out():
    theirs = callbacks(TorchTrainer)
    assert DatasetsCallback in theirs
    assert callbacks(Trainer) == [each for each in theirs if each is not DatasetsCallback]


class Program:
    """Notes whether garbage is looked for while it is unpickled, and while it runs."""

    looked_for: ClassVar[list[bool]] = []

    @classmethod
    def unpickled(cls) -> Self:
        cls.looked_for.append(gc.isenabled())
        return cls()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return Program.unpickled, ()

    def __call__(self, settings: dict[str, Any]) -> None:
        self.looked_for.append(gc.isenabled())


def test_garbage_is_looked_for_while_the_program_runs_but_not_while_it_is_imported():
    in_worker(Program(), loaders=False)({})
    assert Program.looked_for == [False, True]


# Stands for Ray's program: a process that imports it as its own says so.
PROGRAM = """
from pathlib import Path
with Path("imported_as.txt").open("a") as notes:
    notes.write(__name__ + " ")
if __name__ == "__main__":
    from multiprocessing import forkserver
    from selfseg.data.reading.server import PRELOADED, context, start, without_main
    start()
    server = forkserver._forkserver._forkserver_pid
    # They are there without an import, for the server has them; torch it does without.
    seen = f"{set(PRELOADED)} <= sys.modules.keys() and 'torch' not in sys.modules"
    look = f"import sys; sys.exit(not ({seen}))"
    process = context().Process(target=exec, args=(look,))
    with without_main():
        process.start()
    process.join()
    assert process.exitcode == 0
    assert forkserver._forkserver._forkserver_pid == server, "another server was started"
"""


def test_loader_processes_have_what_the_early_server_imported_and_not_the_main_program(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    subprocess.run([sys.executable, program], cwd=tmp_path, check=True)
    assert (tmp_path / "imported_as.txt").read_text() == "__main__ "

"""The run's curves in Weights & Biases, when asked for; the journal has them in any case."""

import hashlib
import importlib
import tempfile
from importlib.util import find_spec
from typing import Any, Literal

from selfseg import storage
from selfseg.errors import UsageError

WandbMode = Literal["offline", "online"]


class WandbLog:
    """One run there for one run here: a resumed one goes on under the same name.

    Args:
        run_url: the run's folder.
        mode: where its curves go.
        settings: of the run.
        group: name of the runs that it belongs to; None: to none.
    """

    def __init__(
        self, run_url: str, mode: WandbMode, settings: dict[str, Any], *, group: str | None = None
    ) -> None:
        wandb = importlib.import_module("wandb")  # an extra that takes seconds to import
        folder = tempfile.gettempdir() if storage.is_remote(run_url) else run_url
        self._run = wandb.init(
            project="selfseg",
            name=run_url.rstrip("/").rsplit("/", 1)[-1],
            group=group,
            id=hashlib.sha256(run_url.encode()).hexdigest()[:16],
            resume="allow",
            mode=mode,
            dir=folder,
            config=settings,
            # What it would note of the machine holds the command line and the address of git's
            # remote, either of which may hold a password.
            settings=wandb.Settings(
                silent=True, console="off", x_disable_stats=False, x_disable_machine_info=True
            ),
        )

    def add(self, step: int, values: dict[str, float]) -> None:
        """Log `values` at `step`."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Wait until everything is written."""
        self._run.finish()


def check(url: str, mode: WandbMode, *, option: str = "--run") -> None:
    """See, before the work begins, that `mode` can be done for what is kept at a place.

    Args:
        url: of a run, or of the folder that runs are in.
        mode: where curves go.
        option: which of the command's says the place.

    Raises:
        UsageError: one line with the remedy.
    """
    if find_spec("wandb") is None:
        raise UsageError(f"--wandb {mode}: wandb is not installed: pip install 'selfseg[wandb]'")
    if mode == "offline" and storage.is_remote(url):
        raise UsageError(
            f"--wandb offline: its files need a folder, and {url} is in a bucket: use "
            f"--wandb online, or a folder for {option}"
        )
    if mode == "online" and not importlib.import_module("wandb").login(prompt=False):
        raise UsageError("--wandb online: no key: set WANDB_API_KEY, or use --wandb offline")

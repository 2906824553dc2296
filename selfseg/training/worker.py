"""What the training loop asks of the process it runs in, and accelerate's answer to it."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from torch import Generator, Tensor, nn
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage] # the hook's documented argument
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.utils import deterministic

from selfseg.errors import UsageError
from selfseg.training.watchdog import Whereabouts

Precision = Literal["no", "bf16", "fp16"]

MOST_WITHOUT_ORDER = 2
"""Workers whose sum is the same in any order, to the last bit."""


class Worker(Protocol):
    """One of `world_size` processes that take the same steps on different parts of a batch.

    Every method but the two wraps is collective: all workers call it, in the same order.
    """

    rank: int
    world_size: int
    device: torch.device

    scales_loss: bool
    """Gradients may overflow by design; the optimiser then skips the step by itself."""

    leaving: bool
    """Some worker must end soon; what all know since they last agreed that all is finite."""

    whereabouts: Whereabouts
    """What this worker is doing."""

    def wrap_player(self, player: nn.Module) -> nn.Module:
        """Return what to call instead of `player` while it moves, so that gradients are means."""
        ...

    def wrap_optimiser(self, optimiser: Optimizer) -> Optimizer:
        """Return what to step instead of `optimiser`."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of the mean of all workers' losses to the mover's parameters."""
        ...

    def clip(
        self,
        optimiser: Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        norm: float | None,
        value: float | None,
    ) -> Tensor:
        """Bound the gradients in place; return their norm as it was."""
        ...

    def forgo(self) -> None:
        """Take note that the optimiser whose gradients were bounded last is not stepped."""
        ...

    def all_finite(self, values: Iterable[Tensor]) -> bool:
        """Tell whether every value is finite on every worker; `leaving` is agreed on as well."""
        ...

    def gather(self, text: str) -> list[str]:
        """Return the texts of all workers, by rank."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what this process must remember to resume exactly, besides weights."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        ...


class AcceleratedWorker:
    """A worker whose device, precision and gradient exchange are accelerate's.

    The process group, if there is one, exists already; so do its environment variables.
    """

    def __init__(
        self, precision: Precision = "no", *, must_leave: Callable[[], bool] = lambda: False
    ) -> None:
        """Begin; `must_leave` tells, at every step, whether this worker is told to end."""
        on_cpu = not torch.cuda.is_available()
        if precision == "fp16" and on_cpu:
            raise UsageError("setting loop.precision: fp16 needs a GPU: use bf16 or no")
        self._accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=precision,
            # Adversaries run several forwards before a backward, and a broadcast in between
            # would change what the first one saw.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        self.rank: int = self._accelerator.process_index
        self.world_size: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        self.scales_loss = precision == "fp16"
        self.leaving = False
        self.whereabouts = Whereabouts()
        self._must_leave = must_leave

    def wrap_player(self, player: nn.Module) -> nn.Module:
        """Wrap in DDP when there are several workers, and in mixed precision when asked for."""
        with warnings.catch_warnings():
            # accelerate cannot pass on yet what torch wants to be asked instead.
            warnings.filterwarnings("ignore", ".*`broadcast_buffers` is deprecated", FutureWarning)
            wrapped = self._accelerator.prepare_model(player)
        if isinstance(wrapped, DistributedDataParallel) and self.device.type == "cpu":
            wrapped.register_comm_hook(None, average_gradients)
        return wrapped

    def wrap_optimiser(self, optimiser: Optimizer) -> Optimizer:
        """Let accelerate step it, which un-scales half-precision gradients."""
        return self._accelerator.prepare_optimizer(optimiser)

    def backward(self, loss: Tensor) -> None:
        """Differentiate; DDP averages over the workers on the way."""
        with self.whereabouts.doing("gradient averaging", waits=True):
            self._accelerator.backward(loss)

    def clip(
        self,
        optimiser: Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        norm: float | None,
        value: float | None,
    ) -> Tensor:
        """Bound the gradients in place, by value and then by norm; return their norm before."""
        self._accelerator.unscale_gradients(optimiser)
        before = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if value is not None:
            clip_grad_value_(parameters, value)
        if norm is not None:
            current = (
                before
                if value is None
                else get_total_norm([p.grad for p in parameters if p.grad is not None])
            )
            clip_grads_with_norm_(parameters, norm, current)
        return before

    def forgo(self) -> None:
        """Let the scale of the loss change as after a step; it counts one for each bounding."""
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.update()

    def all_finite(self, values: Iterable[Tensor]) -> bool:
        """Count the workers with other values, and those that must leave; one small exchange."""
        failed = torch.stack([~v.detach().isfinite() for v in values]).any().float()
        counts = torch.stack([failed, failed.new_tensor(float(self._must_leave()))])
        with self.whereabouts.doing("finite check", waits=True):
            total = self._accelerator.reduce(counts, reduction="sum")
            assert isinstance(total, Tensor)
            num_failed, num_leaving = total.tolist()
        self.leaving = num_leaving > 0
        return num_failed == 0

    def gather(self, text: str) -> list[str]:
        """Collect one text from every worker."""
        with self.whereabouts.doing("exchange of words", waits=True):
            return gather_object([text])

    def state(self) -> dict[str, Any]:
        """Return the state of the loss scaler, if there is one."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else dict(scaler.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Set the loss scaler, if there is one."""
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)


def average_gradients(state: None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Average a bucket of gradients over the workers, in the same order in every grouping.

    DDP regroups its buckets after the first backward of a process, and a ring adds up a
    bucket's elements in an order that depends on their place in it. So a resumed run would
    differ from an uninterrupted one in the last bit, from three workers on; then each parameter
    has an exchange of its own. The sum of two has no order, and goes as one.
    """
    del state
    buffer = bucket.buffer()
    together = [buffer] if dist.get_world_size() <= MOST_WITHOUT_ORDER else bucket.gradients()
    works = [dist.all_reduce(part, async_op=True) for part in together]
    done = torch.futures.collect_all([work.get_future() for work in works])
    return done.then(lambda _: buffer.div_(dist.get_world_size()))


def seed_step(seed: int, step: int, rank: int, device: torch.device) -> Generator:
    """Seed everything random in one step of one worker; return the generator to draw from.

    Torch's own generators (dropout) and the returned one start every step from a hash of
    (seed, step, rank), so a resumed run needs no saved random state, and no draw of one step
    can shift those of the next.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7]))
    return Generator(device).manual_seed(int.from_bytes(digest[8:15]))


def set_up_process(threads: int | None, *, local_world_size: int = 1, helpers: int = 0) -> int:
    """Fix what the bits of a CPU result depend on besides its inputs; return the thread count.

    The number of threads decides how sums are split. By default the machine's cores are shared
    by the workers on it, less one for each of a worker's `helpers`, the processes that load its
    data: threads that wait for each other while others compute are many times slower than one.
    Of torch's operations on the CPU, only accumulating writes to indexed places race between
    threads; the deterministic mode serialises them. On CUDA that mode costs speed and lacks
    operations this package needs, so bit-equality is promised on CPUs.
    """
    cores = len(os.sched_getaffinity(0))
    chosen = threads or max(1, cores // local_world_size - helpers)
    torch.set_num_threads(chosen)
    # accelerate would otherwise warn and choose for itself.
    os.environ["OMP_NUM_THREADS"] = str(chosen)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue] # set through the module's class
        # oneDNN says once a process that it has nothing to offer here.
        warnings.filterwarnings("ignore", message=".*does not have a deterministic.*")
    return chosen

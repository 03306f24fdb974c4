"""The processes that share one run, where a launcher such as `accelerate launch` started more than one.

Every process runs the same program on the same batch. What costs time is split by rows: a model samples, scores or
learns from a process's share, and the shares are joined before anything is decided. So every statistic, mask, price
and random draw is that of one process, and the number of processes changes no result beyond rounding. Files are
written by the first process alone. Without a launcher every function here gives back what it was given.

    rows = spread(rows, work)      by_first(write)      any_of(flag)      total(tensor)

Each is a meeting: all processes must come to the same one, in the same order, from their main thread.
"""

from __future__ import annotations

import datetime
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from alignpro.errors import ProcessLost, RunFailure, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

Row = TypeVar("Row")
Result = TypeVar("Result")
PATIENCE = datetime.timedelta(days=7)
"""How long a process waits for the others, who may be waiting for a slow endpoint; one that died is noticed at once."""
TOLD = "alignpro/told"
FSDP = {
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_ACTIVATION_CHECKPOINTING": "false",
}
"""What a launch by FSDP may say, where it says anything; `alignpro.models.sharding` reads the rest."""
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


@dataclass(frozen=True, slots=True)
class _Group:
    rank: int
    count: int
    local_count: int
    device: str
    talk: Any  # a group that carries Python objects and CPU tensors, whatever the device
    sharded: bool


_group: _Group | None = None
_alone = False


def launched() -> int:
    """Processes that a launcher started, by what it left in the environment."""
    return max((int(os.environ.get(name) or 1) for name in SIZES), default=1)


def begin() -> None:
    """Meet the other processes, if there are any. Raises UsageError for a launch that cannot be followed."""
    global _group
    if _group is not None:
        return
    if launched() < 2:
        if os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_PORT" in os.environ:
            raise UsageError(
                "`accelerate launch --cpu` started one process alone, since it has no mpirun; start several on CPUs by"
                " `accelerate launch --multi_gpu --num_processes N -m alignpro ...`, with --device=cpu where there are"
                " GPUs"
            )
        return
    sharded = _splits_models()
    import torch
    import torch.distributed as dist
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    talk = dist.new_group(backend="gloo", timeout=PATIENCE)
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or state.num_processes)
    _group = _Group(state.process_index, state.num_processes, local, str(state.device), talk, sharded)


def _splits_models() -> bool:
    """Whether the launch asks for FSDP. Raises UsageError for a way of splitting models that is not followed."""
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise UsageError(
                f"this launch splits the model by {name}, which is not supported. Launch with --multi_gpu, or with"
                " --config_file examples/fsdp.yaml for a prompter that is large (docs/scaling.md)"
            )
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return False
    for name, wanted in FSDP.items():
        value = os.environ.get(name, wanted)
        if value.lower() != wanted.lower():
            more = "; train.gradient_checkpointing=true is alignpro's own" if "CHECKPOINTING" in name else ""
            raise UsageError(
                f"this launch has {name.lower()} {value}, and only {wanted} is supported{more}. See examples/fsdp.yaml"
            )
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # transformers would leave the frozen model empty by it
    return True


def end() -> None:
    """Part from the other processes; all have done their work."""
    global _group
    if _group is not None:
        import torch.distributed as dist

        _group = None
        dist.destroy_process_group()


def count() -> int:
    """Processes that share the work at hand."""
    return 1 if _group is None or _alone else _group.count


def is_sharded() -> bool:
    """Whether the policy is split over the processes, so that each of its passes under gradients is a meeting."""
    return _group is not None and _group.sharded


def mesh(device: str) -> Any:
    """The processes as torch names them to split a model that lies on devices of this type."""
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

    assert _group is not None
    return DeviceMesh.from_group(_group.talk, device) if device == "cpu" else init_device_mesh(device, (_group.count,))


def on_this_machine() -> int:
    """Processes that share this machine's cores."""
    return 1 if _group is None else _group.local_count


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return _group is None or _group.rank == 0


def own_device() -> str | None:
    """The accelerator that is this process's own among several, or None where it shares none."""
    return None if _group is None else _group.device


def share(n: int) -> slice:
    """This process's part of n rows."""
    if _group is None or _alone:
        return slice(0, n)
    return slice(n * _group.rank // _group.count, n * (_group.rank + 1) // _group.count)


def pieces(
    rows: Tensor, parts: int, cut: Callable[[Tensor], Sequence[Tensor]] = lambda rows: [rows]
) -> list[tuple[Tensor, float]]:
    """This process's share of `rows` [N] in at least `parts` pieces, if there are so many rows, each cut further by
    `cut`; and what each counts.

    Where the policy is split, every process has as many: one that lacks a piece is given a row that counts 0.
    """
    most = -(-len(rows) // count())
    size = max(1, -(-most // parts))
    own = [(piece, 1.0) for part in rows[share(len(rows))].split(size) if len(part) for piece in cut(part)]
    missing = max(_gather(len(own))) - len(own) if is_sharded() and count() > 1 else 0
    return own + [(rows[:1], 0.0)] * missing


def spread(rows: Sequence[Row], work: Callable[[Sequence[Row]], Sequence[Result]]) -> list[Result]:
    """`work(rows)`, a result a row, each process doing its share. An error in one process is raised in all."""
    if count() == 1:
        return list(work(rows))
    own = rows[share(len(rows))]
    mine = _attempt(lambda: list(work(own)) if own else [])
    outcomes = _gather(mine)
    _raise_first(mine, outcomes)
    return [result for part in outcomes for result in part.value or ()]


def by_first(work: Callable[[], Result]) -> Result:
    """What the first process alone does, once all are here; its result, or its error, in all."""
    global _alone
    if count() == 1:
        return work()
    _gather(None)
    done: _Outcome[Result] | None = None
    if is_first():
        _alone = True
        try:
            done = _attempt(work)
        finally:
            _alone = False
    outcome = _meet(lambda dist, group: _broadcast(dist, group, done))
    _raise_first(done, [outcome])
    result: Result = outcome.value
    return result


def any_of(flag: bool) -> bool:
    """Whether it holds in any process."""
    return flag if count() == 1 else any(_gather(flag))


def total(values: Tensor) -> Tensor:
    """Summed over the processes, in place."""
    if count() > 1:
        _meet(lambda dist, group: dist.all_reduce(values, group=group if values.device.type == "cpu" else None))
    return values


def total_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures summed over the processes; one that had no rows brings none."""
    if count() == 1:
        return dict(figures)
    summed: dict[str, float] = {}
    for part in _gather(dict(figures)):
        for name, value in part.items():
            summed[name] = summed.get(name, 0.0) + value
    return summed


def total_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every gradient summed over the processes; one that had no rows brings zeros. Split ones are sums already."""
    if count() == 1:
        return
    import torch
    from torch.distributed.tensor import DTensor

    for parameter in parameters:
        if parameter.requires_grad and not isinstance(parameter, DTensor):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            total(parameter.grad)


def tell(text: str, show: Callable[[str], None], lost: bool = False) -> None:
    """Show why the run ends, once: by the process that comes to it first. The others give it time to do so.

    `lost` says that another process's end is the reason, which that one knows better.
    """
    if _group is None:  # one process, or several that never met
        if launched() < 2 or os.environ.get("RANK", "0") == "0":
            show(text)
        else:
            time.sleep(2)
        return
    import torch.distributed as dist

    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False
        )
        if lost:
            _wait_for(store, 3)
        if store.add("alignpro/end", 1) == 1:
            show(text)
            store.set(TOLD, "yes")
        else:
            _wait_for(store, 10)
    except RuntimeError:  # the store is gone with the process that held it
        if is_first() or not lost:
            show(text)


def _wait_for(store: Any, seconds: float) -> None:
    """Until another process has told why the run ends."""
    until = time.monotonic() + seconds
    while not store.check([TOLD]) and time.monotonic() < until:
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[Result]):
    """What a process made of its part; it travels, so an error that cannot is replaced by its text."""

    value: Result | None
    error: Exception | None = None


def _attempt(work: Callable[[], Result]) -> _Outcome[Result]:
    try:
        return _Outcome(work())
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return _Outcome(None, RunFailure(f"{type(error).__name__}: {error}"))
        return _Outcome(None, error)


def _raise_first(mine: _Outcome[Any] | None, outcomes: Sequence[_Outcome[Any]]) -> None:
    for part in (mine, *outcomes):
        if part is not None and part.error is not None:
            raise part.error


def _gather(mine: Any) -> list[Any]:
    gathered: list[Any] = [None] * count()
    _meet(lambda dist, group: dist.all_gather_object(gathered, mine, group=group))
    return gathered


def _broadcast(dist: Any, group: Any, value: Any) -> Any:
    box = [value]
    dist.broadcast_object_list(box, src=0, group=group)
    return box[0]


def _meet(work: Callable[[Any, Any], Result]) -> Result:
    """Raises ProcessLost where another process does not come, since it ended."""
    import torch.distributed as dist

    assert _group is not None
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("processes met outside the main thread, which is a defect of alignpro; please report it")
    try:
        return work(dist, _group.talk)
    except RuntimeError as error:
        raise ProcessLost(
            "another process of this run has ended; what was saved is in the run's folder, and --resume goes on from"
            " there"
        ) from error

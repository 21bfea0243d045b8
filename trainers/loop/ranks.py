"""Several processes that train a cell together: what they agree on, and how they sum their gradients.

Each has the whole model on a device of its own, and its equal share of every batch, by index: the sum of the gradients,
each divided by the parts of the whole batch, is that of one process but for rounding, and with it the norm that clips
it, the weights and all that is measured. What must be the same everywhere and is not computed is the first's: the
checkpoint that a cell goes on from, when to stop or to save, metrics. Gradients are summed while the backward pass
still runs, a bucket of them at a time, in the order in which it yields them.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainers.contract import Checkpoint, Context, RankLost, Ranks

PATIENCE = datetime.timedelta(days=7)
"""How long one process waits for another: whoever started them sees whether one has died or fallen silent."""
BUCKET_BYTES = 32 * 2**20
"""Gradients that are summed at once: enough that starting costs little, few enough that the first go early."""
IN_FLIGHT = 3
"""Buckets whose sums are under way at most, each with a copy of its gradients."""
BUFFER_BYTES = (IN_FLIGHT + 1) * BUCKET_BYTES
"""What these copies take of a device. A weight that is larger than a bucket is summed where it is."""


class Group:
    """The processes of a cell; of one alone, every question is answered by itself."""

    def __init__(self, ranks: Ranks):
        self.count, self.index = ranks.count, ranks.index

    @property
    def alone(self) -> bool:
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the process whose word counts."""
        return self.index == 0

    def rows(self, examples: int) -> slice:
        """Which of the examples of a batch are this process's: equal shares, in the order of the processes."""
        share = examples // self.count
        return slice(self.index * share, (self.index + 1) * share)

    def agreed(self, said: Any) -> Any:
        """What the first says, for all: any plain value."""
        if self.alone:
            return said
        import torch.distributed as distributed

        box = [said]
        with _reaching_others():
            distributed.broadcast_object_list(box, src=0, device=_cpu())
        return box[0]

    def yes(self, said: bool) -> bool:
        """The same for a yes or no that is asked at every step."""
        if self.alone:
            return said
        import torch
        import torch.distributed as distributed

        flag = torch.tensor([said], dtype=torch.uint8)
        with _reaching_others():
            distributed.broadcast(flag, src=0)
        return bool(flag)

    def all_said(self, said: Any) -> list[Any]:
        """What each says, in their order."""
        if self.alone:
            return [said]
        import torch.distributed as distributed

        boxes = [None] * self.count
        with _reaching_others():
            distributed.all_gather_object(boxes, said)
        return boxes

    def checkpoint(self, own: Checkpoint | None) -> Checkpoint | None:
        """The first's, for all, one array after another."""
        if self.alone:
            return own
        import torch
        import torch.distributed as distributed

        arrays = {name: np.require(array, requirements="CW") for name, array in own.arrays.items()} if own else {}
        shapes = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
        head = self.agreed((own.step, own.seconds, shapes) if own else None)
        if head is None:
            return None
        step, seconds, shapes = head
        for name, kind, shape in shapes:
            array = arrays.setdefault(name, np.empty(shape, kind)) if not self.first else arrays[name]
            if array.nbytes:
                with _reaching_others():
                    distributed.broadcast(torch.from_numpy(array.reshape(-1).view(np.uint8)), src=0)
        return Checkpoint(step=step, seconds=seconds, arrays=arrays)


ALONE = Group(Ranks())
_here = ALONE


def group_here() -> Group:
    """The processes that this one has been joined with by `together_with_others`."""
    return _here


@contextlib.contextmanager
def together_with_others(context: Context) -> Iterator[Context]:
    """Meet the processes that the context speaks of, and give a context that answers the same in all of them.

    Raises RankLost where one of them cannot be reached.
    """
    global _here
    ranks = getattr(context, "ranks", None) or Ranks()
    if ranks.alone:
        yield context
        return
    import torch
    import torch.distributed as distributed

    on_gpu = context.device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(context.device)
    with _reaching_others():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            init_method=f"file://{ranks.meeting}",
            rank=ranks.index,
            world_size=ranks.count,
            timeout=PATIENCE,
        )
    _here = Group(ranks)
    try:
        yield _Together(context, _here)
    finally:
        _here = ALONE
    # Not where something went wrong: who still waits for the others would wait here too.
    distributed.destroy_process_group()


class _Together:
    """A context whose answers are the first process' in all of them."""

    def __init__(self, context: Context, group: Group):
        self._context, self._group, self.device = context, group, context.device

    def load(self, cell: int) -> Checkpoint | None:
        return self._group.checkpoint(self._context.load(cell) if self._group.first else None)

    def checkpoint_due(self) -> bool:
        return self._group.yes(self._group.first and self._context.checkpoint_due())

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        if self._group.first:
            self._context.save(cell, checkpoint)

    def should_stop(self) -> bool:
        return self._group.yes(self._group.first and self._context.should_stop())


class SummedGradients:
    """The gradients of some weights, summed over the processes of a group."""

    def __init__(self, weights: Sequence[Any], group: Group):
        self._alone = group.alone
        self._buckets = [] if self._alone else _buckets(weights)
        self._place = {weight: number for number, bucket in enumerate(self._buckets) for weight in bucket}
        self._awaited: list[int] = []
        """By bucket, the gradients that it still waits for; empty while none is expected."""
        self._next, self._under_way = 0, []
        for weight in self._place:
            weight.register_post_accumulate_grad_hook(self._ready)

    def expect(self) -> None:
        """The backward pass that comes is the last of this step."""
        self._awaited, self._next = [len(bucket) for bucket in self._buckets], 0

    def finish(self) -> None:
        """Wait until every weight's gradient is the sum."""
        while self._next < len(self._buckets):
            self._start()  # Weights that the loss does not depend on had no gradient to wait for.
        while self._under_way:
            self._end_first()
        self._awaited = []

    def _ready(self, weight) -> None:
        if self._awaited:
            self._awaited[self._place[weight]] -= 1
            # In one order everywhere, whichever is ready first.
            while self._next < len(self._buckets) and not self._awaited[self._next]:
                self._start()

    def _start(self) -> None:
        import torch
        import torch.distributed as distributed

        gradients = [weight.grad for weight in self._buckets[self._next] if weight.grad is not None]
        self._next += 1
        if not gradients:
            return
        in_place = len(gradients) == 1 and gradients[0].is_contiguous()
        flat = gradients[0] if in_place else torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _reaching_others():
            work = distributed.all_reduce(flat, async_op=True)
        self._under_way.append((work, flat, [] if in_place else gradients))
        while len(self._under_way) > IN_FLIGHT:
            self._end_first()

    def _end_first(self) -> None:
        import torch

        work, flat, gradients = self._under_way.pop(0)
        with _reaching_others():
            work.wait()
        if gradients:
            parts = flat.split([gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [part.view_as(one) for part, one in zip(parts, gradients, strict=True)])


def trainable(weights: Mapping[str, Any]) -> list[Any]:
    """Those that have gradients, in the order of their names here."""
    return [weight for weight in weights.values() if weight.requires_grad]


def _buckets(weights: Sequence[Any]) -> list[list[Any]]:
    """The last weights first, as the backward pass yields them, in buckets of about `BUCKET_BYTES`."""
    buckets, room = [], 0
    for weight in reversed(weights):
        size = weight.numel() * weight.element_size()
        if size > room:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(weight)
        room -= size
    return buckets


def _cpu():
    import torch

    return torch.device("cpu")


@contextlib.contextmanager
def _reaching_others() -> Iterator[None]:
    """What torch says where another process is gone, as `RankLost`."""
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise RankLost(f"another process of this cell cannot be reached: {error}") from error

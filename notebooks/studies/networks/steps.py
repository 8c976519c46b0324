"""Training by a number of steps, for unfolded networks on their tasks; a loss of NaN stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from symscope._checks import choice, real, whole
from symscope._draws import stream

SCHEDULES = ("cosine", "halvings")


class Steps(NamedTuple):
    """What a training by steps leaves beside the model itself."""

    losses: Tensor  # (steps,) float64: each step's loss with its penalty, before the step
    seconds: float


def fit_steps(
    head: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    steps: int = 700,
    batch_size: int = 256,
    lr: float = 3e-3,
    clip: float = 1.0,
    penalty: float = 1.0,
    schedule: str = "cosine",
    seed: int = 0,
) -> Steps:
    """Train an unfolded network on a task, by Adam.

    The batches are drawn without replacement, and afresh when the data are used up. The network
    stays on its device, where the data should be too, and ends in eval mode.

    Args:
        head: a task of :mod:`studies.lgn.unfolded` or :mod:`studies.lgn.published`: it
            has ``loss(inputs, targets)`` and a ``network`` with ``penalty()``. Trained in place;
            if it has ``project()``, that is called after every step.
        inputs: (N, ...).
        targets: (N, ...), what the task compares with; None (default) for reconstruction.
        steps: default 700.
        batch_size: samples a step; default 256, at most N.
        lr: Adam's first learning rate; default 3e-3.
        clip: largest norm of the gradient; default 1.
        penalty: weight of the dictionary's penalty beside the loss; default 1.
        schedule: of the learning rate: "cosine" (default), to zero, or "halvings", halved when
            1/2, 3/4 and 7/8 of the steps are done, as in the code of `theodosis2023linear`.
        seed: for the order of the samples, by a stream of its own; default 0.

    Raises:
        ValueError: for an unknown schedule, steps or a batch size that is no whole number of at
            least 1, fewer samples than a batch, or a learning rate or clip that is not positive.
        FloatingPointError: if a loss or gradient is not finite. Training stops at once, the
            message says at which step, and the network is left as it was at the last step where
            both were finite.
    """
    steps, batch_size = whole("steps", steps), whole("batch_size", batch_size)
    lr, clip = real("lr", lr, above=0), real("clip", clip, above=0)
    choice("schedule", schedule, SCHEDULES)
    if len(inputs) < batch_size:
        raise ValueError(f"inputs must be at least one batch of {batch_size}, got {len(inputs)}")
    weights = [p for p in head.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=lr)
    scheduler: torch.optim.lr_scheduler.LRScheduler
    if schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    else:
        halved = [steps // 2, steps * 3 // 4, steps * 7 // 8]
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, halved, 0.5)
    project = getattr(head, "project", None)
    batches = full_batches(len(inputs), batch_size, stream(seed, "order"))
    last = Snapshot(head)
    losses = torch.zeros(steps, dtype=torch.float64)
    started = time.perf_counter()
    head.train()
    task: Any = head  # a module with `loss` and `network`
    for step in range(steps):
        rows = next(batches).to(inputs.device)
        wanted = None if targets is None else targets.index_select(0, rows)
        value = task.loss(inputs.index_select(0, rows), wanted)
        if penalty:  # else it would cost time for nothing
            value = value + penalty * task.network.penalty()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(weights, clip)
        losses[step] = value.detach()
        if not torch.isfinite(value.detach() + norm):
            last.restore()
            head.eval()
            raise FloatingPointError(
                f"the loss or its gradient is not finite at step {step + 1} of {steps}; the "
                f"network is as it was at step {max(step, 1)}. Lower lr ({lr:g}), or look for NaN "
                "in the data"
            )
        last.take()
        optimizer.step()
        scheduler.step()
        if project:
            project()
    head.eval()
    return Steps(losses, time.perf_counter() - started)


def full_batches(count: int, size: int, draw: torch.Generator) -> Iterator[Tensor]:
    """Rows of one batch after another, without end; a round's last batch is left out if short."""
    while True:
        order = torch.randperm(count, generator=draw)
        yield from order[: count - count % size].split(size)


class Snapshot:
    """A module's state as it was, kept in memory that is used again.

    One is taken in every step, since only the next step's loss tells whether the weights are good.
    """

    def __init__(self, module: nn.Module):
        self.state = list(module.state_dict().values())  # these share memory with the module
        self.kept = [value.clone() for value in self.state]

    @torch.no_grad()
    def take(self) -> None:
        """Keep the state as it is now."""
        for kept, value in zip(self.kept, self.state, strict=True):
            kept.copy_(value)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the kept state back."""
        for kept, value in zip(self.kept, self.state, strict=True):
            value.copy_(kept)

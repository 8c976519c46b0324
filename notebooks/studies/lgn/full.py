"""The authors' full training, kept after every epoch: 50,000 images, 100 epochs, 39,100 steps.

``python -m studies.lgn.full FOLDER`` trains the networks of :data:`NETWORKS` one after another
and goes on where it was stopped: hours of one core each. ``python -m studies.lgn.full export
FOLDER data/lgn_full`` writes what the notebooks read of it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from symscope._draws import stream

from . import setting

IMAGES = ("CIFAR-10 (JPEG copy)", 50_000, 10_000, 50_000)
EPOCHS, BATCH = 100, 128
SEEDS = (200, 201, 202)  # of no other record


class Plan(NamedTuple):
    """One network: what :func:`studies.lgn.setting.untrained` and the regulariser need."""

    task: str
    kind: str
    regularised: bool
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        group = self.kind if self.regularised else "unregularised"
        return f"{self.task}-{group}-{self.seed}"


_FIRST = (("classify", "learned"), ("classify", "free"), ("reconstruct", "learned"))
NETWORKS = [Plan(*each, True, seed) for seed in SEEDS for each in _FIRST] + [
    Plan("classify", "learned", False, seed) for seed in SEEDS
]


def train(
    problem: setting.Problem,
    plan: Plan,
    folder: str | Path,
    *,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    sets: int = 5,
    after_epoch: Callable[[dict[str, float]], object] = lambda row: None,
) -> tuple[setting.Head, list[dict[str, float]]]:
    """Train one network as :func:`studies.lgn.setting.trained`, and keep it after every epoch.

    Two things are as the authors have them where :func:`studies.lgn.setting.trained` counts
    steps: an epoch's last batch may be short, and the rate is halved after whole epochs.

    Args:
        folder: of ``NAME.pt``, replaced as a whole after each epoch; if it is there, training
            goes on from it, bit for bit as if it had not been stopped.

    Returns:
        The network, and a row an epoch: ``epoch``, ``loss`` (mean over the epoch's samples,
        without the regulariser), ``score`` on the test images (accuracy, or mean squared error),
        ``residual`` (mean of ``|A B - I|_F / sqrt(d)``; NaN without B), ``seconds``.
    """
    head = setting.untrained(problem, plan.task, plan.kind, sets=sets, seed=plan.seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    halved = [epochs // 2, epochs * 3 // 4, epochs * 7 // 8]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, halved, 0.5)
    order = stream(plan.seed, "order")
    weight = setting.REGULARISER[plan.task] if plan.regularised else 0.0
    rows: list[dict[str, float]] = []
    path = Path(folder) / f"{plan.name}.pt"
    parts: dict[str, Any] = {"head": head, "optimizer": optimizer, "scheduler": scheduler}
    if path.exists():
        kept = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        order.set_state(kept["order"])
        rows = kept["rows"]
    inputs, targets = problem.splits.train
    for epoch in range(len(rows) + 1, epochs + 1):
        began, total = time.perf_counter(), 0.0
        head.train()
        for chosen in torch.randperm(len(inputs), generator=order).split(batch_size):
            loss = head.loss(inputs[chosen], targets[chosen])
            value = loss + weight * head.network.penalty() if weight else loss
            if not value.isfinite():
                raise FloatingPointError(f"the loss of {plan.name} is not finite, epoch {epoch}")
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(head.parameters(), 2.0)
            optimizer.step()
            head.project()
            total += float(loss.detach()) * len(chosen)
        scheduler.step()
        head.eval()
        rows.append(
            {
                "epoch": epoch,
                "loss": total / len(inputs),
                "score": setting.score(head, problem.splits.test),
                "residual": float(setting.residual(head).mean()),
                "seconds": time.perf_counter() - began,
            }
        )
        state = {name: part.state_dict() for name, part in parts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state | {"order": order.get_state(), "rows": rows}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        after_epoch(rows[-1])
    return head.eval(), rows


def export(kept: str | Path, target: str | Path) -> None:
    """What is kept of each network so far, small enough to commit: rows, and weights as they are.

    Args:
        kept: the folder of :func:`train`.
        target: gets ``progress.csv``, a row an epoch, and ``NAME.safetensors``, below 1 MB each.
    """
    import pandas
    from safetensors.torch import save_file

    Path(target).mkdir(parents=True, exist_ok=True)
    tables = []
    for plan in NETWORKS:
        if (path := Path(kept) / f"{plan.name}.pt").exists():
            found = torch.load(path, weights_only=True)
            tables.append(pandas.DataFrame(found["rows"]).assign(**plan._asdict()))
            weights = {name: value.contiguous() for name, value in found["head"].items()}
            save_file(weights, Path(target) / f"{plan.name}.safetensors")
    table = pandas.concat(tables).round({"loss": 6, "score": 6, "residual": 6, "seconds": 1})
    table.to_csv(Path(target) / "progress.csv", index=False)


def load(target: str | Path, plan: Plan) -> setting.Head:
    """A network with the weights that :func:`export` wrote, in eval mode."""
    from safetensors.torch import load_file

    head = setting.built(plan.task, plan.kind)
    head.load_state_dict(load_file(Path(target) / f"{plan.name}.safetensors"))
    return head.eval()


def main(folder: str) -> None:
    """Train all networks, one after another, and print a line after each epoch."""
    torch.set_num_threads(1)
    problem = setting.images(*IMAGES)
    for plan in NETWORKS:
        train(problem, plan, folder, after_epoch=partial(_print, plan.name))


def _print(name: str, row: dict[str, float]) -> None:
    print(name, json.dumps(row), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:])
    else:
        main(sys.argv[1])

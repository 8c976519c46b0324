"""What extraction costs on a CPU, beside the network alone and the published procedure.

    make bench

All are timed in turn in one process; memory is the peak of a fresh process each. Writes
benchmarks/results/cpu.json.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, Report, compare, seconds_on_cpu

import studies
import symscope as ss
from symscope.actions.vectors import Action
from symscope.extract.checks import probe
from symscope.extract.extraction import Query
from symscope.extract.factor import Factor
from symscope.extract.network import Network, Outputs
from symscope.kernels import reference

PLANE = ss.PlaneAction("gl2")


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults are those of the recorded results.

    Args:
        images: of 28 x 28.
        larger: images in the second measurement of memory.
        vectors: of the linear action.
        dimension: of the vectors; the linear action has its square as many directions.
        batch: images a step.
        budget: seconds for the rounds of a case.
        memory: whether to measure it too; default where /proc tells the peak.
        copied: numbers in the copy that shows the memory's bandwidth.
        side: of the matrices whose product shows the speed of arithmetic.
    """

    images: int = 12_000
    larger: int = 60_000
    vectors: int = 100_000
    dimension: int = 32
    batch: int = 512
    budget: float = 60
    memory: bool = sys.platform.startswith("linux")
    copied: int = 2**26
    side: int = 2048


class Reverse(ss.PlaneAction):
    """The same action without its fields: every output has a backward pass of its own."""

    fields = property()


def network(outputs: int = 10) -> torch.nn.Module:
    """The paper's classifier, 784 - 128 x 5 - outputs, with frozen random weights."""
    torch.manual_seed(0)
    return studies.networks.MLP((784, *[128] * 5, outputs)).eval()


def images(count: int) -> torch.Tensor:
    """Random numbers: no time depends on what the pictures show."""
    return torch.randn(count, 28, 28, generator=torch.Generator().manual_seed(0))


def forward(model: torch.nn.Module, data: torch.Tensor, batch: int) -> None:
    """Plain forward passes, batch by batch."""
    with torch.no_grad():
        for part in data.split(batch):
            model(part)


def forward_backward(model: torch.nn.Module, data: torch.Tensor, batch: int) -> None:
    """The gradient of the summed output by the input, batch by batch, and nothing else."""
    for part in data.split(batch):
        part = part.detach().requires_grad_()
        torch.autograd.grad(model(part).sum(), part)


def training_gradient(model: torch.nn.Module, data: torch.Tensor, batch: int) -> None:
    """The gradient by the weights, as every training step takes it."""
    for part in data.split(batch):
        torch.autograd.grad(model(part).sum(), list(model.parameters()))


def published(model: torch.nn.Module, data: torch.Tensor, outputs: int, full: bool = False) -> None:
    """The published procedure: every cotangent, the tensor of each pixel's matrix and E held.

    ``outputs`` is 1 for the sum of the outputs, else their number. ``full`` asks for all N left
    singular vectors, as torch does by default, of which the method uses none.
    """
    x, y = PLANE.coordinates(data)
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    along = torch.gradient(data, spacing=float(x[1] - x[0]), dim=(-2, -1), edge_order=2)
    gradient = torch.stack([along[1], -along[0]], -1)
    leaf = data.detach().requires_grad_()
    values = model(leaf)
    columns = [values.sum()] if outputs == 1 else values.sum(0).unbind()
    rows = []
    for column in columns:
        cotangent = torch.autograd.grad(column, leaf, retain_graph=True)[0]
        pixels = (cotangent[..., None] * gradient)[..., None] * places[..., None, :]
        rows.append(-pixels.sum((1, 2)).flatten(1))
    torch.linalg.svd(torch.cat(rows), full_matrices=full)


def rows_alone(data: torch.Tensor, cotangents: torch.Tensor, batch: int) -> None:
    """The rows and their Gram matrix, without the network."""
    for part, cotangent in zip(data.split(batch), cotangents.split(batch), strict=True):
        PLANE.gram(part, cotangent)


def vectors(count: int, dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and cotangents of one output."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(count, 1, dimension, generator=generator)
    return data, torch.randn(count, 1, 1, dimension, generator=generator)


def published_linear(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """The whole matrix of rows, and its singular value decomposition."""
    rows = reference.linear_rows(data, cotangents).flatten(0, 1)
    torch.linalg.svd(rows, full_matrices=False)


def streamed_qr(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """torch's own operations without our Gram matrix: a QR factorisation a batch."""
    directions = data.shape[-1] ** 2
    triangle = torch.zeros(directions, directions)
    for x, g in zip(data.split(4096), cotangents.split(4096), strict=True):
        rows = reference.linear_rows(x, g).flatten(0, 1)
        triangle = torch.linalg.qr(torch.cat([triangle, rows]), mode="r").R
    torch.linalg.svd(triangle)


def factor_linear(data: torch.Tensor, cotangents: torch.Tensor) -> None:
    """Our path: the Gram matrix in float64, batch by batch, and the spectrum of its factor."""
    action = ss.LinearAction(data.shape[-1])
    factor = Factor(len(action.basis))
    for x, g in zip(data.split(16_384), cotangents.split(16_384), strict=True):
        factor.update_gram(action.gram(x, g), len(x), len(x), x.dtype)
    factor.spectrum()


def plain(
    model: torch.nn.Module,
    data: torch.Tensor,
    outputs: str = "all",
    batch: int = 512,
    action: Action = PLANE,
) -> None:
    """Rows and their factor alone, with the shuffled control's: no decision could rest on them."""
    query = Query(data=data, action=action, outputs=Outputs(outputs), batch_size=batch)
    factors = {kind: Factor(len(action.basis)) for kind in ("network", "shuffled")}
    network, how = probe(Network(model, query.outputs), action, data[:batch], mode=query.mode)
    for part in query.stream():
        pairs = {"network": part.inputs} | ({"shuffled": part.others} if len(part.others) else {})
        moved = {kind: how.moving(samples) for kind, samples in pairs.items()}
        for kind, rows in how.rows(network, part.inputs, moved, part.start):
            rows.add_to(factors[kind])
    for factor in factors.values():
        factor.spectrum()


def decided(model: torch.nn.Module, data: torch.Tensor, **options: Any) -> Callable[[], object]:
    """The whole call, and its answer."""
    call = ask(model, data, **options)
    return lambda: call().count


def ask(model: torch.nn.Module, data: torch.Tensor, **options: Any) -> Callable[[], Any]:
    """A call of the whole extraction, its shuffled control included."""
    return partial(ss.learned_symmetries, model, data, **{"action": PLANE} | options)


def summed(report: Report, sizes: Sizes) -> None:
    """The paper's question, one output."""
    data, model, batch = images(sizes.images), network(), sizes.batch
    case = f"summed output, {len(data):,} images of 28 x 28, 5 x 128"
    weights = sum(p.numel() for p in model.parameters())
    cotangents = torch.randn(len(data), 1, 28, 28, generator=torch.Generator().manual_seed(1))
    compare(
        report,
        case,
        {
            "network, forward": partial(forward, model, data, batch),
            "network, forward and backward": partial(forward_backward, model, data, batch),
            "network, gradient by the weights": partial(training_gradient, model, data, batch),
            "symscope": ask(model, data, outputs="sum", batch_size=batch),
            "symscope, reference": ask(
                model, data, outputs="sum", backend="reference", batch_size=batch
            ),
            "symscope, its rows alone": partial(rows_alone, data, cotangents, batch),
            "published procedure": partial(published, model, data, 1),
            "published procedure, full SVD": partial(published, model, data, 1, True),
        },
        budget=sizes.budget,
        least_operations={
            "network, forward": 2 * weights * len(data),
            "network, forward and backward": 4 * weights * len(data),
            # Differences, product and two moments along either axis: 14 a pixel.
            "symscope": 4 * weights * len(data) + 14 * data.numel(),
            "symscope, its rows alone": 14 * data.numel(),
        },
        least_bytes={
            "network, forward": data.nbytes,
            "network, forward and backward": 2 * data.nbytes,
            "symscope": data.nbytes,
            "symscope, its rows alone": 2 * data.nbytes,
        },
    )
    ratio = report.ratio(case, "symscope", "network, forward and backward")
    report.target("sum: extraction / forward and backward", "<= 1.15", ratio, ratio <= 1.15)
    ratio = report.ratio(case, "published procedure", "symscope")
    report.target("sum: published procedure / extraction", ">= 4", ratio, ratio >= 4)
    ratio = report.ratio(case, "published procedure, full SVD", "symscope")
    report.target("sum: the same with a full SVD / extraction", ">= 4", ratio, ratio >= 4)
    if sizes.memory:
        report.row(case, "symscope").peak_bytes = ours = peak("sum", sizes)
        report.row(case, "published procedure").peak_bytes = peak("published sum", sizes)
        ratio = peak("sum", replace(sizes, images=sizes.larger)) / ours
        more = f"memory for {sizes.larger:,} / for {sizes.images:,} images"
        report.target(f"sum: {more}", "<= 1.1", ratio, ratio <= 1.1)


def all_outputs(report: Report, sizes: Sizes) -> None:
    """Every output: ten, and a thousand."""
    data, ten, thousand = images(sizes.images), network(), network(1000)
    batch = sizes.batch
    case = f"all outputs, {len(data):,} images of 28 x 28, 5 x 128"
    compare(
        report,
        case,
        {
            "10 outputs: network, forward": partial(forward, ten, data, batch),
            "10 outputs: symscope": ask(ten, data, batch_size=batch),
            "10 outputs: symscope, in reverse": ask(
                ten, data, action=Reverse("gl2"), batch_size=batch
            ),
            "10 outputs: published procedure": partial(published, ten, data, 10),
            "1,000 outputs: network, forward": partial(forward, thousand, data, batch),
            "1,000 outputs: symscope": ask(thousand, data, batch_size=batch),
        },
        budget=sizes.budget,
    )
    for name in ("10 outputs", "1,000 outputs"):
        directions = 1 + len(PLANE.basis)
        ratio = report.ratio(case, f"{name}: symscope", f"{name}: network, forward") / directions
        report.target(f"{name}: extraction / (1 + K) forward", "<= 2.5", ratio, ratio <= 2.5)
    ratio = report.ratio(case, "1,000 outputs: symscope", "10 outputs: symscope")
    plain = report.ratio(case, "1,000 outputs: network, forward", "10 outputs: network, forward")
    report.target(
        "1,000 / 10 outputs: extraction, against the forward pass's", "<= 1.5",
        ratio / plain, ratio / plain <= 1.5,
    )  # fmt: skip
    if sizes.memory:
        report.row(case, "10 outputs: symscope").peak_bytes = ours = peak("all", sizes)
        theirs = report.row(case, "10 outputs: published procedure")
        theirs.peak_bytes = peak("published all", sizes)
        ratio = peak("all", replace(sizes, images=sizes.larger)) / ours
        more = f"memory for {sizes.larger:,} / for {sizes.images:,} images"
        report.target(f"all: {more}", "<= 1.1", ratio, ratio <= 1.1)


def linear(report: Report, sizes: Sizes) -> None:
    """Many directions: a linear action on vectors."""
    count, n = sizes.vectors, sizes.dimension
    data, cotangents = vectors(count, n)
    k = n**2
    case = f"linear action, n = {n} (K = {k:,}), N = {count:,}"
    compare(
        report,
        case,
        {
            "symscope": partial(factor_linear, data, cotangents),
            "QR a batch": partial(streamed_qr, data, cotangents),
            "matrix and its SVD": partial(published_linear, data, cotangents),
        },
        budget=sizes.budget,
        least_operations={"symscope": 2 * count * (n * (n + 1) // 2) ** 2},
        least_bytes={"symscope": 2 * data.nbytes, "matrix and its SVD": 4 * count * k},
    )
    ratio = report.ratio(case, "matrix and its SVD", "symscope")
    report.target("linear: matrix and SVD / extraction", ">= 3", ratio, ratio >= 3)
    if sizes.memory:
        report.row(case, "symscope").peak_bytes = ours = peak("linear", sizes)
        report.row(case, "matrix and its SVD").peak_bytes = theirs = peak("published linear", sizes)
        ratio = ours / theirs
        report.target("linear: memory / that of matrix and SVD", "< 0.1", ratio, ratio < 0.1)


def decisions(report: Report, sizes: Sizes) -> None:
    """What it costs to decide, beside rows and factors alone."""
    pictures, classifier = images(sizes.images), network()
    (pairs, _), regression = (
        vectors(sizes.images, 10),
        studies.networks.MLP((10, 64, 64, 64, 1)).eval(),
    )
    points, _ = vectors(sizes.vectors, sizes.dimension)
    smooth = studies.networks.MLP((sizes.dimension, 64, 1)).eval()
    five, many = ss.LinearAction(5, copies=2), ss.LinearAction(sizes.dimension)
    for name, outputs, model, data, action in (
        ("sum of 10 outputs", "sum", classifier, pictures, PLANE),
        ("10 outputs", "all", classifier, pictures, PLANE),
        ("K = 25", "all", regression, pairs[:, 0], five),
        (f"K = {len(many.basis):,}", "all", smooth, points[:, 0], many),
    ):
        case = f"decision, {name}, N = {len(data):,}"
        compare(
            report,
            case,
            {
                "rows and factors": partial(plain, model, data, outputs, sizes.batch, action),
                "decision": decided(
                    model, data, outputs=outputs, batch_size=sizes.batch, action=action
                ),
            },
            budget=sizes.budget / 4,
        )
        ratio = report.ratio(case, "decision", "rows and factors")
        report.target(f"{name}: decision / rows and factors", "<= 1.5", ratio, ratio <= 1.5)


def limits(report: Report, sizes: Sizes) -> None:
    """What the machine itself reaches: a large copy, a large matrix product."""
    source, square = torch.randn(sizes.copied), torch.randn(sizes.side, sizes.side)
    target = torch.empty_like(source)
    copy = min(seconds_on_cpu(partial(target.copy_, source)) for _ in range(10))
    product = min(seconds_on_cpu(partial(torch.mm, square, square)) for _ in range(10))
    report.limits["copy, GB/s"] = 2 * source.nbytes / copy / 1e9
    report.limits["float32 matrix product, Gflop/s"] = 2 * sizes.side**3 / product / 1e9


# Memory: each in a process of its own

MEMORY: dict[str, Callable[[Sizes], Callable[[], object]]] = {
    "sum": lambda s: ask(network(), images(s.images), outputs="sum", batch_size=s.batch),
    "all": lambda s: ask(network(), images(s.images), batch_size=s.batch),
    "published sum": lambda s: partial(published, network(), images(s.images), 1),
    "published all": lambda s: partial(published, network(), images(s.images), 10),
    "linear": lambda s: partial(factor_linear, *vectors(s.vectors, s.dimension)),
    "published linear": lambda s: partial(published_linear, *vectors(s.vectors, s.dimension)),
}


def peak(name: str, sizes: Sizes) -> int:
    """Bytes beyond the data that one of MEMORY needs, measured in a process of its own."""
    # The allocator hands every freed block back, so that the peak counts what is held.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, name, json.dumps(asdict(sizes))]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return int(run.stdout)


def measure_memory(name: str, sizes: Sizes) -> None:
    """Print the peak of one of MEMORY."""
    if name in ("sum", "all"):
        MEMORY[name](replace(sizes, images=2 * sizes.batch))()  # what the first use keeps for good
    call = MEMORY[name](sizes)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    call()
    print(status("VmHWM") - before)


def status(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def processor() -> str:
    """What the system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(sizes: Sizes, folder: Path = RESULTS) -> None:
    """Measure everything, print it and write it into the folder."""
    report = Report(f"{processor()}, {torch.get_num_threads()} threads")
    for measure in (limits, summed, all_outputs, linear, decisions):
        measure(report, sizes)
    report.print()
    report.write(folder / "cpu.json")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure_memory(sys.argv[1], Sizes(**json.loads(sys.argv[2])))
    else:
        main(Sizes())

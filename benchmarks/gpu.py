"""What the kernels reach on a GPU, beside torch's own operations and the device's limits.

    PYTHONPATH=src:notebooks python benchmarks/gpu.py

Needs torch, Triton and Python alone, and takes under 5 minutes. First every kernel is compared
with its definition in float64; then all are timed by the GPU's clock. Writes
benchmarks/results/gpu.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from measure import RESULTS, Report, compare, seconds_on_cpu, seconds_on_gpu

import studies
import symscope as ss
from symscope.kernels import ops, reference

PLANE = reference.Plane(13.5, 13.5, 2 / 27, "central", False)


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults fill a GPU, and are those of the recorded results.

    Args:
        images, outputs: of 28 x 28, and cotangents of each.
        vectors, dimension: of the linear action.
        sets, filters, order, patch: of the orbits.
        codes: of the proximal step.
        checked: images, and ten times as many vectors, compared with float64.
        budget: seconds for the rounds of a case.
        copied: numbers in the copy that shows the memory's bandwidth.
        side: of the matrices whose product shows the speed of arithmetic.
        device: "cuda"; on "cpu" Triton's interpreter is timed, which says nothing.
    """

    images: int = 60_000
    outputs: int = 10
    vectors: int = 100_000
    dimension: int = 32
    sets: int = 64
    filters: int = 6
    order: int = 6
    patch: int = 36
    codes: int = 2**26
    checked: int = 50
    budget: float = 8
    copied: int = 2**28
    side: int = 8192
    device: str = "cuda"

    def random(self, *shape: int, seed: int = 0) -> torch.Tensor:
        """Normal numbers on the device."""
        generator = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(shape, generator=generator, device=self.device)


def peak(function: Callable[[], object]) -> int:
    """Bytes of device memory beyond what is held already."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def timed(
    report: Report, sizes: Sizes, case: str, functions: dict[str, Callable], **limits: dict
) -> None:
    """Time on the GPU, and the memory of each."""
    on_gpu = sizes.device == "cuda"
    seconds = seconds_on_gpu if on_gpu else seconds_on_cpu
    compare(report, case, functions, budget=sizes.budget, seconds=seconds, **limits)
    for name, function in functions.items() if on_gpu else ():
        report.row(case, name).peak_bytes = peak(function)


def limits(report: Report, sizes: Sizes) -> None:
    """A large copy, and large matrix products."""
    side, half = sizes.side, sizes.side // 2
    source, square = sizes.random(sizes.copied), sizes.random(side, side)
    target = torch.empty_like(source)
    double = square[:half, :half].double()
    case = "limits of the device"
    timed(
        report,
        sizes,
        case,
        {
            "copy": partial(target.copy_, source),
            f"float32 product of {side}": partial(torch.mm, square, square),
            f"float64 product of {half}": partial(torch.mm, double, double),
        },
        least_bytes={"copy": 2 * source.nbytes},
    )
    report.limits["copy, GB/s"] = 2 * source.nbytes / report.row(case, "copy").median / 1e9
    for name, size in (("float32", side), ("float64", half)):
        seconds = report.row(case, f"{name} product of {size}").median
        report.limits[f"{name} matrix product, Gflop/s"] = 2 * size**3 / seconds / 1e9


def bandwidth(report: Report, case: str, name: str) -> None:
    """The target of 80 % of the copy's bandwidth."""
    row = report.row(case, name)
    assert row.least_bytes is not None
    reached = row.least_bytes / row.median / 1e9 / report.limits["copy, GB/s"]
    report.target(f"{case.split(',')[0]}, {name}: of the copy's bandwidth", ">= 0.8", reached,
                  reached >= 0.8)  # fmt: skip


def plane(report: Report, sizes: Sizes) -> None:
    """Rows and Gram matrix of the image plane."""
    count, outputs = sizes.images, sizes.outputs
    images = sizes.random(count, 28, 28)
    cotangents = sizes.random(count, outputs, 28, 28, seed=1)
    case = f"plane rows, N = {count:,}, C = {outputs}"
    read = images.nbytes + cotangents.nbytes
    rows = count * outputs * 4 * 4
    timed(
        report,
        sizes,
        case,
        {
            "kernel, rows": partial(ops.plane_rows, images, cotangents, PLANE, "triton"),
            "kernel, Gram matrix": partial(ops.plane_gram, images, cotangents, PLANE, "triton"),
            "torch, rows": partial(ops.plane_rows, images, cotangents, PLANE, "reference"),
        },
        least_bytes={"kernel, rows": read + rows, "kernel, Gram matrix": read},
    )
    bandwidth(report, case, "kernel, rows")
    bandwidth(report, case, "kernel, Gram matrix")


def linear(report: Report, sizes: Sizes) -> None:
    """The Gram matrix of a linear action."""
    count, n = sizes.vectors, sizes.dimension
    vectors = sizes.random(count, 1, n)
    cotangents = sizes.random(count, 1, 1, n, seed=1)
    k = n**2
    case = f"linear Gram matrix, n = {n}, N = {count:,}"
    operations = count * k * (k + 1)  # of the rows' product, which is symmetric
    kernel = "kernel, float32"

    def published() -> None:
        rows = reference.linear_rows(vectors, cotangents).flatten(0, 1)
        torch.linalg.svd(rows[:20_000], full_matrices=False)

    timed(
        report,
        sizes,
        case,
        {
            kernel: partial(ops.linear_gram, vectors, cotangents, "float32", "triton"),
            "torch, rows and product, float32": partial(
                reference.linear_gram, vectors, cotangents, torch.float32
            ),
            "torch, pairs, float64": partial(ops.linear_gram, vectors, cotangents),
            "matrix and SVD of its first 20,000 rows": published,
        },
        least_operations={kernel: operations},
    )
    reached = operations / report.row(case, kernel).median / 1e9
    reached /= report.limits["float32 matrix product, Gflop/s"]
    report.target("linear Gram matrix: of the product's rate", ">= 0.6", reached, reached >= 0.6)


def orbits(report: Report, sizes: Sizes) -> None:
    """Orbits forward and backward."""
    sets, each, order, patch = sizes.sets, sizes.filters, sizes.order, sizes.patch
    filters = sizes.random(sets, each, patch).requires_grad_()
    generators = torch.linalg.qr(sizes.random(sets, patch, patch, seed=1)).Q.requires_grad_()
    weights = sizes.random(sets, each, order, patch, seed=2)

    def both(backend: str) -> None:
        elements = ops.orbits(filters, generators, order, backend)
        torch.autograd.grad(elements, (filters, generators), weights)

    case = f"orbits forward and backward, J = {sets}, K = {each}, n = {order}, d = {patch}"
    moved = 4 * (2 * filters.numel() + 2 * generators.numel() + 3 * weights.numel())
    timed(
        report,
        sizes,
        case,
        {"kernel": partial(both, "triton"), "loop of batched products": partial(both, "reference")},
        least_bytes={"kernel": moved},
    )
    ratio = report.ratio(case, "loop of batched products", "kernel")
    report.target("orbits: loop of batched products / kernel", ">= 5", ratio, ratio >= 5)


def proximal(report: Report, sizes: Sizes) -> None:
    """The elementwise part of an unfolded layer."""
    count = sizes.codes
    point, gradient, previous = (sizes.random(count, seed=i).requires_grad_() for i in range(3))
    by = [sizes.random(count, seed=3), sizes.random(count, seed=4)]

    def forward(backend: str) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.proximal_step(point, gradient, previous, 0.3, 0.2, 0.5, True, backend)

    results = {backend: forward(backend) for backend in ("triton", "reference")}

    def backward(backend: str) -> None:
        torch.autograd.grad(results[backend], (point, gradient, previous), by, retain_graph=True)

    case = f"proximal step, {count:,} codes"
    functions: dict[str, Callable[..., object]] = {
        f"{name}, {way}": partial(call, backend)
        for name, backend in (("kernel", "triton"), ("torch", "reference"))
        for way, call in (("forward", forward), ("backward", backward))
    }
    timed(
        report,
        sizes,
        case,
        functions,
        least_bytes={"kernel, forward": 5 * 4 * count, "kernel, backward": 6 * 4 * count},
    )
    bandwidth(report, case, "kernel, forward")
    bandwidth(report, case, "kernel, backward")


def extraction(report: Report, sizes: Sizes) -> None:
    """The whole call on a network of 5 x 128, beside the network alone."""
    torch.manual_seed(0)
    model = studies.networks.mnist_mlp().eval().to(sizes.device)
    data = sizes.random(sizes.images, 28, 28)

    def network(backward: bool) -> None:
        for batch in data.split(4096):
            batch = batch.detach().requires_grad_(backward)
            value = model(batch).sum()
            if backward:
                torch.autograd.grad(value, batch)

    def ask(outputs: str, backend: str) -> None:
        ss.learned_symmetries(
            model,
            data,
            action=ss.PlaneAction("gl2"),
            outputs=outputs,
            backend=backend,
            batch_size=4096,
        )

    timed(
        report,
        sizes,
        f"extraction, {len(data):,} images of 28 x 28, 5 x 128, batches of 4,096",
        {
            "network, forward": torch.no_grad()(partial(network, False)),
            "network, forward and backward": partial(network, True),
            "symscope, sum": partial(ask, "sum", "auto"),
            "symscope, sum, without kernels": partial(ask, "sum", "reference"),
            "symscope, all outputs": partial(ask, "all", "auto"),
            "symscope, all outputs in reverse": partial(ask, "all", "triton"),
        },
    )


def check(sizes: Sizes) -> None:
    """Every kernel against its definition in float64, on small inputs."""
    random, count, n, patch = sizes.random, sizes.checked, sizes.dimension, sizes.patch
    images, cotangents = random(count, 28, 28), random(count, sizes.outputs, 28, 28, seed=1)
    vectors = random(10 * count, 1, n)
    by = random(10 * count, 1, 1, n, seed=1)
    filters, generators = random(4, 3, patch), random(4, patch, patch, seed=1) / patch**0.5
    codes = [random(1000, seed=i) for i in range(3)]
    for name, arguments, most in (
        ("plane_rows", (images, cotangents, PLANE), 1e-6),
        ("plane_gram", (images, cotangents, PLANE), 1e-6),
        ("linear_gram", (vectors, by, "float32"), 1e-6),
        ("orbits", (filters, generators, sizes.order), 1e-5),
        ("proximal_step", (*codes, 0.3, 0.2, 0.5, True), 1e-6),
    ):
        found = getattr(ops, name)(*arguments, backend="triton")
        double = [a.double() if isinstance(a, torch.Tensor) else a for a in arguments]
        if name == "linear_gram":
            double[2] = torch.float64
        truth = getattr(reference, name)(*double)
        pairs = zip(found, truth, strict=True) if isinstance(found, tuple) else [(found, truth)]
        for a, b in pairs:
            error = float((a - b).abs().max() / b.abs().max())
            if not error < most:
                raise SystemExit(f"{name} {arguments[2:]} is off by {error:.1e}, allowed {most}")
    print("every kernel agrees with its definition")


MEASURES = (limits, plane, linear, orbits, proximal, extraction)


def main(
    sizes: Sizes,
    folder: Path = RESULTS,
    measures: Sequence[Callable[[Report, Sizes], None]] = MEASURES,
) -> None:
    """Check, measure, print and write into the folder."""
    on_gpu = sizes.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit("no CUDA device: nothing was measured")
    check(sizes)
    report = Report(torch.cuda.get_device_name() if on_gpu else "Triton's interpreter")
    for measure in measures:
        measure(report, sizes)
        torch.cuda.empty_cache()
    report.print()
    report.write(folder / "gpu.json")


if __name__ == "__main__":
    main(Sizes())

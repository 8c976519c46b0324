"""What the kernels reach on a GPU, beside torch's own operations and the device's limits.

    PYTHONPATH=src python benchmarks/gpu.py

Needs torch, Triton and Python alone, and takes under 5 minutes. First every kernel is compared
with its definition in float64; then all are timed by the GPU's clock. Writes
benchmarks/results/gpu.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
from measure import RESULTS, Report, compare, seconds_on_gpu

import symscope as ss
from symscope.kernels import ops, reference

DEVICE = "cuda"
IMAGES, OUTPUTS = 60_000, 10
VECTORS, DIMENSION = 100_000, 32
SETS, FILTERS, ORDER, PATCH = 64, 6, 6, 36
CODES = 2**26
CHECKED = 50  # images, and ten times as many vectors, compared with float64
PLANE = reference.Plane(13.5, 13.5, 2 / 27, "central", False)
BUDGET = 8  # seconds a case


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers on the device."""
    return torch.randn(shape, generator=torch.Generator(DEVICE).manual_seed(seed), device=DEVICE)


def peak(function: Callable[[], object]) -> int:
    """Bytes of device memory beyond what is held already."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def timed(report: Report, case: str, functions: dict[str, Callable], **limits: dict) -> None:
    """Time on the GPU, and the memory of each."""
    compare(report, case, functions, budget=BUDGET, seconds=seconds_on_gpu, **limits)
    for name, function in functions.items():
        report.row(case, name).peak_bytes = peak(function)


def limits(report: Report) -> None:
    """A large copy, and a large matrix product in every precision."""
    source, square = random(2**28), random(8192, 8192)
    target = torch.empty_like(source)
    products = {}
    for name, mode in (("float32", "highest"), ("tf32", "high")):

        def product(mode: str = mode) -> torch.Tensor:
            torch.set_float32_matmul_precision(mode)
            try:
                return square @ square
            finally:
                torch.set_float32_matmul_precision("highest")

        products[name] = product
    double = square[:4096, :4096].double()
    case = "limits of the device"
    timed(
        report,
        case,
        {
            "copy of 1 GiB": partial(target.copy_, source),
            "float32 product of 8192": products["float32"],
            "tf32 product of 8192": products["tf32"],
            "float64 product of 4096": partial(torch.mm, double, double),
        },
        least_bytes={"copy of 1 GiB": 2 * source.nbytes},
    )
    report.limits["copy, GB/s"] = 2 * source.nbytes / report.row(case, "copy of 1 GiB").median / 1e9
    for name, size in (("float32", 8192), ("tf32", 8192), ("float64", 4096)):
        seconds = report.row(case, f"{name} product of {size}").median
        report.limits[f"{name} matrix product, Gflop/s"] = 2 * size**3 / seconds / 1e9


def bandwidth(report: Report, case: str, name: str) -> None:
    """The target of 80 % of the copy's bandwidth."""
    row = report.row(case, name)
    reached = row.least_bytes / row.median / 1e9 / report.limits["copy, GB/s"]
    report.target(f"{case.split(',')[0]}, {name}: of the copy's bandwidth", ">= 0.8", reached,
                  reached >= 0.8)  # fmt: skip


def plane(report: Report) -> None:
    """Rows and Gram matrix of the image plane."""
    images, cotangents = random(IMAGES, 28, 28), random(IMAGES, OUTPUTS, 28, 28, seed=1)
    case = f"plane rows, N = {IMAGES:,}, C = {OUTPUTS}"
    read = images.nbytes + cotangents.nbytes
    rows = IMAGES * OUTPUTS * 4 * 4
    timed(
        report,
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


def linear(report: Report) -> None:
    """The Gram matrix of a linear action."""
    vectors = random(VECTORS, 1, DIMENSION)
    cotangents = random(VECTORS, 1, 1, DIMENSION, seed=1)
    k = DIMENSION**2
    case = f"linear Gram matrix, n = {DIMENSION}, N = {VECTORS:,}"
    operations = VECTORS * k * (k + 1)  # of the rows' product, which is symmetric
    kernel = {
        f"kernel, {precision}": partial(ops.linear_gram, vectors, cotangents, precision, "triton")
        for precision in ("float32", "tf32x3", "tf32")
    }

    def published() -> None:
        rows = reference.linear_rows(vectors, cotangents).flatten(0, 1)
        torch.linalg.svd(rows[:20_000], full_matrices=False)

    timed(
        report,
        case,
        {
            **kernel,
            "torch, rows and product, float32": partial(
                reference.linear_gram, vectors, cotangents, torch.float32
            ),
            "torch, pairs, float64": partial(ops.linear_gram, vectors, cotangents),
            "matrix and SVD of its first 20,000 rows": published,
        },
        least_operations=dict.fromkeys(kernel, operations),
    )
    for precision, of in (("float32", "float32"), ("tf32", "tf32")):
        seconds = report.row(case, f"kernel, {precision}").median
        reached = operations / seconds / 1e9 / report.limits[f"{of} matrix product, Gflop/s"]
        report.target(f"linear Gram matrix, {precision}: of the product's rate", ">= 0.6", reached,
                      reached >= 0.6)  # fmt: skip


def orbits(report: Report) -> None:
    """Orbits forward and backward."""
    filters = random(SETS, FILTERS, PATCH).requires_grad_()
    generators = torch.linalg.qr(random(SETS, PATCH, PATCH, seed=1)).Q.requires_grad_()
    weights = random(SETS, FILTERS, ORDER, PATCH, seed=2)

    def both(backend: str) -> None:
        elements = ops.orbits(filters, generators, ORDER, backend)
        torch.autograd.grad(elements, (filters, generators), weights)

    case = f"orbits forward and backward, J = {SETS}, K = {FILTERS}, n = {ORDER}, d = {PATCH}"
    each = 4 * (2 * filters.numel() + 2 * generators.numel() + 3 * weights.numel())
    timed(
        report,
        case,
        {"kernel": partial(both, "triton"), "loop of batched products": partial(both, "reference")},
        least_bytes={"kernel": each},
    )
    ratio = report.ratio(case, "loop of batched products", "kernel")
    report.target("orbits: loop of batched products / kernel", ">= 5", ratio, ratio >= 5)


def proximal(report: Report) -> None:
    """The elementwise part of an unfolded layer."""
    codes = [random(CODES, seed=i).requires_grad_() for i in range(3)]
    by = [random(CODES, seed=3), random(CODES, seed=4)]

    def forward(backend: str) -> tuple[torch.Tensor, torch.Tensor]:
        return ops.proximal_step(*codes, 0.3, 0.2, 0.5, True, backend)

    results = {backend: forward(backend) for backend in ("triton", "reference")}

    def backward(backend: str) -> None:
        torch.autograd.grad(results[backend], codes, by, retain_graph=True)

    case = f"proximal step, {CODES:,} codes"
    functions = {
        f"{name}, {way}": partial(call, backend)
        for name, backend in (("kernel", "triton"), ("torch", "reference"))
        for way, call in (("forward", forward), ("backward", backward))
    }
    timed(
        report,
        case,
        functions,
        least_bytes={"kernel, forward": 5 * 4 * CODES, "kernel, backward": 6 * 4 * CODES},
    )
    bandwidth(report, case, "kernel, forward")
    bandwidth(report, case, "kernel, backward")


def extraction(report: Report) -> None:
    """The whole call on a network of 5 x 128, beside the network alone."""
    torch.manual_seed(0)
    model = ss.networks.mnist_mlp().eval().to(DEVICE)
    data = random(IMAGES, 28, 28)

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
        f"extraction, {IMAGES:,} images of 28 x 28, 5 x 128, batches of 4,096",
        {
            "network, forward": torch.no_grad()(partial(network, False)),
            "network, forward and backward": partial(network, True),
            "symscope, sum": partial(ask, "sum", "auto"),
            "symscope, sum, without kernels": partial(ask, "sum", "reference"),
            "symscope, all outputs": partial(ask, "all", "auto"),
            "symscope, all outputs in reverse": partial(ask, "all", "triton"),
        },
    )


def check() -> None:
    """Every kernel against its definition in float64, on small inputs."""
    images, cotangents = random(CHECKED, 28, 28), random(CHECKED, OUTPUTS, 28, 28, seed=1)
    vectors = random(10 * CHECKED, 1, DIMENSION)
    by = random(10 * CHECKED, 1, 1, DIMENSION, seed=1)
    filters, generators = random(4, 3, PATCH), random(4, PATCH, PATCH, seed=1) / PATCH**0.5
    codes = [random(1000, seed=i) for i in range(3)]
    for name, arguments, most in (
        ("plane_rows", (images, cotangents, PLANE), 1e-6),
        ("plane_gram", (images, cotangents, PLANE), 1e-6),
        ("linear_gram", (vectors, by, "float32"), 1e-6),
        ("linear_gram", (vectors, by, "tf32x3"), 1e-5),
        ("linear_gram", (vectors, by, "tf32"), 1e-2),
        ("orbits", (filters, generators, ORDER), 1e-5),
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


def main() -> None:
    """Check, measure, print and write."""
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: nothing was measured")
    check()
    report = Report(torch.cuda.get_device_name())
    for measure in (limits, plane, linear, orbits, proximal, extraction):
        measure(report)
        torch.cuda.empty_cache()
    report.print()
    report.write(RESULTS / "gpu.json")


if __name__ == "__main__":
    main()

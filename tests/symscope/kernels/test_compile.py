"""The kernels are compiled for GPUs without one: they must build, and keep to the registers."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

SCRIPT = r"""
import re, subprocess, sys, tempfile
from importlib import import_module
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

plane = linear = orbits = codes = import_module("symscope.kernels.triton")
TYPES = dict.fromkeys(("origin_row", "origin_column", "spacing", "momentum"), "fp32") | {
    name: "i32" for name in "N C K D M H W ROWS SIZE CHANNELS PIXELS".split()
}


def spilled(kernel, constants, capability, warps=4, stages=3, **types):
    names = kernel.arg_names
    signature = {
        n: "constexpr" if n in constants else types.get(n, TYPES.get(n, "*fp32")) for n in names
    }
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(n),): value for n, value in constants.items()},
        attrs={
            (i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n] == "*fp32"
        },
    )
    target = GPUTarget("cuda", capability, 32)
    options = {"num_warps": warps, "num_stages": stages}
    assembly = triton.compile(source, target=target, options=options).asm["ptx"]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(assembly)
        file.flush()
        tool = get_ptxas(capability)
        tool = tool[0] if isinstance(tool, tuple) else tool
        chip = f"sm_{capability}" + ("a" if capability == 90 else "")
        said = subprocess.run(
            [getattr(tool, "path", tool), "-v", f"-arch={chip}", file.name, "-o", file.name + ".o"],
            capture_output=True, text=True, check=True,
        ).stderr
    return int(re.search(r"(\d+) bytes spill stores", said)[1])


capability = int(sys.argv[1])
worst = {}
for outputs in (1, 16):
    for translations in (False, True):
        block = min(plane.LARGEST_BLOCK, plane.TILE // outputs)
        constants = {
            "FORWARD": False, "TRANSLATIONS": translations, "OUTPUTS": outputs, "BLOCK": block,
        }
        for kernel in (plane._plane_rows, plane._plane_gram):
            found = spilled(kernel, constants, capability, warps=1, grams="*fp64")
            worst[f"{kernel.__name__} {outputs} {translations}"] = found
constants = {"SPLIT": linear.SPLIT, "TILE": linear.GRAM_TILE, "DEPTH": linear.DEPTH}
worst["_linear_gram"] = spilled(
    linear._linear_gram, constants, capability, warps=8, stages=2, gram="*fp64"
)
constants = {"ORDER": 6, "FILTERS": orbits.FILTERS, "WIDTH": 64}
worst["_orbits"] = spilled(orbits._orbits, constants, capability)
worst["_orbits_adjoint"] = spilled(orbits._orbits_adjoint, constants, capability, warps=8)
for on_device in (False, True):
    number = "*fp32" if on_device else "fp32"
    constants = {"LOAD_STEP": on_device, "BLOCK": codes.ELEMENTS}
    worst[f"_proximal_adjoint {on_device}"] = spilled(
        codes._proximal_adjoint, constants, capability, step=number
    )
    constants |= {"LOAD_THRESHOLD": on_device, "TWO_SIDED": True}
    worst[f"_proximal_step {on_device}"] = spilled(
        codes._proximal_step, constants, capability, step=number, threshold=number
    )
print(worst)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Triton is for Linux")
@pytest.mark.parametrize("capability", [80, 90], ids=["A100", "H100"])
def test_every_kernel_builds_and_keeps_to_the_registers(capability, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(capability)],
        capture_output=True,
        text=True,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    bytes_spilled = eval(run.stdout)  # what the script above printed
    # An eighth of a thread's registers at most: more shows that a tile outgrew them.
    assert len(bytes_spilled) == 15 and max(bytes_spilled.values()) <= 128, bytes_spilled

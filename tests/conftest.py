"""What every test runs under: the same random examples on every machine, Triton everywhere."""

import os

import hypothesis
import torch

# Two busy cores are slow at times; a slow example is no failure.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")

# Without a GPU the kernels run in Triton's interpreter; it must be told before it is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

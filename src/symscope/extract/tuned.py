"""Every number of the extraction that was chosen, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuned:
    """Limits of memory, and thresholds of the checks.

    Those of memory were set by the peaks and times of benchmarks/cpu.py; those of the checks by
    the networks of tests/symscope/extract/test_checks.py, of both kinds.
    """

    # Bytes: of cotangents or tangents held at once; of what a network holds of the samples that
    # it is run on at once; of inputs, and of weights in float64, in a check.
    chunk_bytes: int = 2**25
    graph_bytes: int = 2**28
    at_once_bytes: int = 2**20
    doubled_bytes: int = 2**28
    few_directions: int = 64  # whose rows are no larger than the data, and are written out
    tensors_at_a_layer: int = 3  # of a sample that tangents are in at once: in, out, around it
    # Lengths of gradients and motions are cut down to this quantile of the first so many samples:
    # without that a few decide, and no interval covers.
    quantile: float = 0.95
    learned_from: int = 256
    random_gradients: int = 2  # a sample
    # Pieces of the data, enough for an interval; fewer of many directions, for each piece holds a
    # matrix for each kind of row.
    pieces: int = 32
    few_pieces: int = 8
    many_directions: int = 200
    # Random combinations of the outputs a sample, where it is not known how many samples will
    # come; at most so many; and rows a direction that leave an error of rho of about a tenth.
    combinations: int = 4
    most_combinations: int = 16
    rows_a_direction: int = 32
    # A network that holds more bytes of a sample is spared what is not needed: rounding and
    # derivatives are looked at in fewer samples, far ones in its own precision.
    slow_bytes: int = 2**18
    nudged: int = 64  # samples in which rounding is measured
    nudged_if_slow: int = 4
    probed: int = 8  # samples that the checks look at
    probed_if_slow: int = 4
    near_if_slow: int = 2  # of which in float64
    strangers: int = 64  # samples among which they seek others
    smallest: float = 1e-140  # size of a derivative times data whose square float64 holds
    # How far samples are moved, as radians of a rotation of the plane are far: where a derivative
    # is the whole movement, in float64 and in what is coarser; and as far as data differ.
    near: float = 1e-4
    near_coarse: float = 1e-2
    far: float = 0.3
    intervals: int = 4  # of such a way, in which derivatives are compared with changes
    # The part of the movement that a derivative may miss. In float64 near nothing is missed; else
    # a network that chooses neighbours or experts anew jumps now and then.
    missed: float = 0.02
    missed_steadily: float = 1e-3
    missed_far: float = 0.5
    # A network that rounds misses all along: the squared mean of what is missed in an interval,
    # times their number, over its variance.
    steady: float = 8.0
    lost: float = 0.8  # the part of its change that the derivative of a step function misses
    halvings: int = 12  # of the way, to where a step function changes
    few_jumps: int = 3  # so few samples may have met another neighbour or expert


TUNED = Tuned()

"""Every number of the extraction that was chosen, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuned:
    """Limits of memory, and thresholds of the checks.

    Those of memory were set by the peaks and times of benchmarks/cpu.py; those of the checks by
    the networks of tests/symscope/extract/test_checks.py, of both kinds.

    Attributes:
        chunk_bytes: cotangents or tangents held at once.
        graph_bytes: what a network holds of the samples that it is run on at once.
        at_once_bytes: inputs that a check runs at once.
        doubled_bytes: weights of a network that a check runs in float64.
        few_directions: whose rows are no larger than the data, and are written out.
        tensors_at_a_layer: of a sample that tangents are in at once: in, out, and around it.
        quantile: lengths of gradients and motions are cut down to it; without that a few samples
            decide, and no interval covers.
        learned_from: samples for the quantiles and for the size of the data's elements.
        random_gradients: a sample.
        pieces: of the data; enough for an interval.
        few_pieces: where there are ``many_directions``: each holds a matrix for each kind of row.
        many_directions: see ``few_pieces``.
        combinations: random combinations of the outputs a sample, where it is not known how many
            samples will come.
        most_combinations: at most as many.
        rows_a_direction: that leave an error of rho of about a tenth.
        slow_bytes: a network that holds more of a sample is spared what is not needed: rounding
            and derivatives are looked at in fewer samples, far ones in its own precision.
        nudged, nudged_if_slow: samples in which rounding is measured.
        probed, probed_if_slow: samples that the checks look at.
        near_if_slow: of which in float64.
        strangers: samples among which they seek others.
        smallest: size of a derivative times data whose square float64 holds.
        near, near_coarse, far: how far samples are moved, as radians of a plane rotation are far:
            where a derivative is the whole movement, in float64 and in what is coarser; and as
            far as data differ.
        intervals: of such a way, in which derivatives are compared with changes.
        missed, missed_steadily, missed_far: the part of the movement that a derivative may miss.
            In float64 near nothing is; else a network that chooses neighbours or experts anew
            jumps now and then.
        steady: one that rounds misses all along: the squared mean of what is missed in an
            interval, times their number, over its variance.
        lost: the part of its change that the derivative of a step function misses.
        halvings: of the way, to where it changes.
        few_jumps: so few samples may have met another neighbour or expert.
    """

    chunk_bytes: int = 2**25
    graph_bytes: int = 2**28
    at_once_bytes: int = 2**20
    doubled_bytes: int = 2**28
    few_directions: int = 64
    tensors_at_a_layer: int = 3
    quantile: float = 0.95
    learned_from: int = 256
    random_gradients: int = 2
    pieces: int = 32
    few_pieces: int = 8
    many_directions: int = 200
    combinations: int = 4
    most_combinations: int = 16
    rows_a_direction: int = 32
    slow_bytes: int = 2**18
    nudged: int = 64
    nudged_if_slow: int = 4
    probed: int = 8
    probed_if_slow: int = 4
    near_if_slow: int = 2
    strangers: int = 64
    smallest: float = 1e-140
    near: float = 1e-4
    near_coarse: float = 1e-2
    far: float = 0.3
    intervals: int = 4
    missed: float = 0.02
    missed_steadily: float = 1e-3
    missed_far: float = 0.5
    steady: float = 8.0
    lost: float = 0.8
    halvings: int = 12
    few_jumps: int = 3


TUNED = Tuned()

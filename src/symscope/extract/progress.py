"""A bar on work that takes long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

PATIENCE = 5.0  # seconds until the bar appears


def shown(batches: Iterable[Any], total: int | None) -> Iterator[Any]:
    """The same batches, with a bar of their samples on stderr if they take more than 5 seconds.

    The variable TQDM_DISABLE=1 switches it off, as any bar of tqdm.

    Args:
        batches: whose ``inputs`` are samples.
        total: how many samples there are, if that is known.
    """
    from tqdm import tqdm

    with tqdm(total=total, unit=" samples", delay=PATIENCE, leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch.inputs))

"""The book's own package: data sets, training, the papers' networks, statistics, figures.

What a reader's own network needs lives in symscope; what only the book needs lives here.
"""

from . import data, ledger, lgn, networks, plots, statistics

__all__ = ["data", "ledger", "lgn", "networks", "plots", "statistics"]

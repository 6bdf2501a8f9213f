"""Stars in order of the groups they belong to: sums over groups, and a group's value for all its stars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Groups:
    """Where each of m groups begins among n stars that are in order of their groups.

    Parameters
    ----------
    starts : array of int, shape (m,)
        First star of each group; the first is 0, none is empty.
    n : int
        Number of stars.
    """

    starts: NDArray[np.intp]
    n: int

    @classmethod
    def of(cls, group: NDArray) -> Groups:
        """Group stars by the number of each one's group, shape (n,).

        Equal numbers stand side by side; a number that comes back begins a group of its own.
        """
        return cls(
            np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])[: len(group)]), len(group)
        )

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """Number of stars of each group, shape (m,)."""
        return np.diff(np.append(self.starts, self.n))

    @cached_property
    def numbers(self) -> NDArray[np.intp]:
        """Number of each star's group, 0 to m - 1, shape (n,)."""
        return self.spread(np.arange(len(self)))

    def sums(self, values: NDArray) -> NDArray:
        """Sum the values, shape (n,), of each group, shape (m,)."""
        return np.add.reduceat(values, self.starts) if len(self) else np.zeros(0, values.dtype)

    def spread(self, values: NDArray) -> NDArray:
        """Give each star the value of its group: shape (n,) of (m,)."""
        return np.repeat(values, self.counts)

"""Channels as integers: who is tied to whom, and who may not be removed.

Every channel of every producing layer is an integer, an atom. A tensor carries, for each of its
axes, the atoms along it, or None where nothing may be removed. Atoms that can only go together are
tied; ties are transitive. Atom 0 is any channel that stays for good.
"""

from __future__ import annotations

import numpy as np

Ids = np.ndarray  # (size of an axis,) int64
Label = list[Ids | None]  # one entry per axis, the batch axis first

FIXED = 0


class Atoms:
    """A union-find over atoms, with the reason why a class of them is frozen."""

    def __init__(self) -> None:
        self._parent: list[int] = [FIXED]
        self._reason: dict[int, str] = {}
        self._producer: list[int] = [-1]

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int, producer: int) -> Ids:
        """`count` new atoms of a producer, in order."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        self._producer.extend([producer] * count)
        return np.arange(first, first + count, dtype=np.int64)

    def find(self, atom: int) -> int:
        """The representative of an atom's class."""
        parent = self._parent
        root = atom
        while parent[root] != root:
            root = parent[root]
        while parent[atom] != root:
            parent[atom], atom = root, parent[atom]
        return root

    def roots(self, ids: Ids) -> Ids:
        """The representative of each."""
        return np.fromiter((self.find(int(i)) for i in ids.ravel()), np.int64, ids.size).reshape(
            ids.shape
        )

    def tie(self, a: Ids, b: Ids) -> None:
        """Tie a[i] to b[i] for every i; an atom tied to a fixed one is frozen."""
        for i, j in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
            if FIXED in (i, j):
                self._freeze_one(i or j, "it is joined to a tensor of fixed width")
                continue
            x, y = self.find(i), self.find(j)
            if x == y:
                continue
            low, high = min(x, y), max(x, y)
            self._parent[high] = low
            reason = self._reason.pop(high, None)
            if reason is not None:
                self._reason.setdefault(low, reason)

    def freeze(self, ids: Ids, reason: str) -> None:
        """Mark atoms as never to be removed; the first reason given is kept."""
        for i in set(ids.ravel().tolist()):
            self._freeze_one(i, reason)

    def _freeze_one(self, atom: int, reason: str) -> None:
        if atom != FIXED:
            self._reason.setdefault(self.find(atom), reason)

    def reason(self, atom: int) -> str | None:
        """Why the atom's class is frozen, or None."""
        return self._reason.get(self.find(atom))

    def producer(self, atom: int) -> int:
        """The number of the layer that made an atom."""
        return self._producer[atom]

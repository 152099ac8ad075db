"""A network as numbers: how wide and how deep it is at each place that is free. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ckrm_tf.errors import CKRMError, unknown_name


class Design(Mapping[str, int]):
    """An ordered, frozen mapping from the name of a width or depth to its number.

    Two designs with the same numbers are equal, and are one key of a dictionary, in whatever order
    they were given: they are the same network of a family.

    Args:
        numbers: a mapping, or pairs, of names and whole numbers; 0 for what is absent, where the
            family lets it go (`Family.checked`).

    Raises:
        CKRMError: another number, a name that is no text, or no number at all.

    Example:
        >>> wide = Design({"stem/filters": 64, "stage1/mid": 64})
        >>> wide.replace({"stage1/mid": 32})
        Design({'stem/filters': 64, 'stage1/mid': 32})
        >>> Design.from_json(wide.to_json()) == wide
        True
    """

    __slots__ = ("_hash", "_numbers")
    _numbers: Mapping[str, int]
    _hash: int

    def __init__(self, numbers: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        found = dict(numbers)
        if not found:
            raise CKRMError("design", expected="at least one width or depth", received="none")
        for name, number in found.items():
            if not isinstance(name, str) or not name:
                raise CKRMError("design", expected="names that are texts", received=repr(name))
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise CKRMError(
                    f"design: {name}",
                    expected="a whole number of at least 0",
                    received=repr(number),
                )
        object.__setattr__(self, "_numbers", MappingProxyType(found))
        object.__setattr__(self, "_hash", hash(frozenset(found.items())))

    def __getitem__(self, name: str) -> int:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __hash__(self) -> int:
        return self._hash

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Design is frozen: {name} cannot be set")

    def __reduce__(self) -> tuple[type[Design], tuple[dict[str, int]]]:
        return type(self), (dict(self._numbers),)

    def __repr__(self) -> str:
        return f"Design({dict(self._numbers)!r})"

    def __str__(self) -> str:
        return ", ".join(f"{name} {number}" for name, number in self.items())

    def replace(self, changes: Mapping[str, int]) -> Design:
        """The same design with other numbers for some of its names.

        Raises:
            CKRMError: a name that the design has not, with the nearest that it has.
        """
        for name in changes:
            if name not in self:
                raise unknown_name("width or depth", name, self)
        return Design(dict(self._numbers) | dict(changes))

    def to_dict(self) -> dict[str, int]:
        """Plain numbers, ready for JSON."""
        return dict(self._numbers)

    def to_json(self) -> str:
        """One line of JSON from which `from_json` makes an equal value."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, data: Any) -> Design:
        """The inverse of `to_dict`."""
        if not isinstance(data, Mapping):
            raise CKRMError("design", expected='{"NAME": number, ...}', received=repr(data)[:80])
        return cls(data)

    @classmethod
    def from_json(cls, text: str) -> Design:
        """The inverse of `to_json`."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise CKRMError("design", expected="JSON", received=repr(text[:80])) from error

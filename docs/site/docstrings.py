"""For the API pages: the docstrings' `Example:` is read as the section `Examples:`."""

from __future__ import annotations

from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """The reader of docstrings knows the plural alone; of the other it makes a box of prose."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section of one object."""
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            lines = ["Examples:" if line == "Example:" else line for line in lines]
            obj.docstring.value = "\n".join(lines)

"""Text for LaTeX, and a table of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# What LaTeX reads as a command.
_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
}  # fmt: skip


def tex(text: str) -> str:
    """Text that LaTeX shows as it is.

    Example:
        >>> tex("50% of stage1_mid")
        '50\\\\% of stage1\\\\_mid'
    """
    return "".join(_TEX.get(letter, letter) for letter in text)


def tabular(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers. Needs booktabs."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(tex(cell) for cell in cells) + r" \\"

    lines = [
        "% Needs \\usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        line(head),
        r"\midrule",
        *(line(row) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"

"""A table as LaTeX, for `\\usepackage{booktabs}`."""

from __future__ import annotations

from interplay.report.draw import DASH, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    DASH: "---",
    "\n": " ",
}


def to_latex(table: Table) -> str:
    """A `tabular` whose first column is at the left and whose others, numbers mostly, are at the right."""
    headers, rows = table
    columns = "l" + "r" * (len(headers) - 1)
    lines = [_line(row) for row in rows]
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _line(headers),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _line(cells: list[str]) -> str:
    return " & ".join("".join(_SPECIAL.get(letter, letter) for letter in cell) for cell in cells) + r" \\"

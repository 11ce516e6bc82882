"""Records as tables: the same ones at the terminal and in Markdown."""

import re
import textwrap
from collections.abc import Sequence

from benchmarks.code_digest import changed
from benchmarks.machine import describe
from benchmarks.records import Record, Run

WIDTH = 100  # of a line of text in a page
STALE = re.compile(r"^\*Changed since then: [^*]*\*\n", re.MULTILINE)  # what a test of the pages ignores


def grid(records: Sequence[Record], *, ranges: bool = True, digits: int = 3) -> list[list[str]]:
    """Return the cells of one table: its head, then its rows, in the order in which the records come."""
    columns = list(dict.fromkeys((record.column, record.unit) for record in records))
    rows: dict[str, dict[tuple[str, str], Record]] = {}
    for record in records:
        rows.setdefault(record.row, {})[record.column, record.unit] = record
    head = [records[0].table, *(f"{column}, {unit}" if unit else column for column, unit in columns)]
    lines = [[row, *(cell(found.get(c), ranges=ranges, digits=digits) for c in columns)] for row, found in rows.items()]
    if any(record.bar for record in records):
        head += ["bar", ""]
        for line, found in zip(lines, rows.values(), strict=True):
            judged = next((record for record in found.values() if record.bar), None)
            which = f"{judged.column} " if judged and len(columns) > 1 else ""
            line += [which + judged.bar, "reached" if judged.reached else "not reached"] if judged else ["", ""]
    return [head, *lines]


def cell(record: Record | None, *, ranges: bool = True, digits: int = 3) -> str:
    """Return a figure with its range: `12.3 (11 to 14.1)`; a dash for what was not measured."""
    if record is None:
        return "-"
    value, low, high = (
        number(record.value if n is None else n, digits) for n in (record.value, record.low, record.high)
    )
    return f"{value} ({low} to {high})" if ranges and low != high else value


def number(value: float, digits: int = 3) -> str:
    """Return a number as a reader needs it, with at least so many digits: 687 123, 12.3, 0.41.

    With two digits, larger numbers are rounded as well: 690 000.
    """
    if float(value).is_integer() and digits > 2:
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) >= 100:
        places = digits - len(f"{abs(value):.0f}") if digits < 3 else 0
        return f"{round(value, places):,.0f}".replace(",", " ")
    return f"{value:{'#' if digits < 3 else ''}.{digits}g}".removesuffix(".")


def markdown(head: Sequence[str], *rows: Sequence[str]) -> str:
    """Return a table in Markdown: columns of numbers to the right, all others to the left."""
    numbers = [all(row[i] in ("", "-", "–") or row[i][:1].isdigit() for row in rows) for i in range(len(head))]
    lines = [" | ".join(head), " | ".join("---:" if right else "---" for right in [False, *numbers[1:]])]
    lines += [" | ".join(cell.replace("|", "/") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def source(run: Run) -> str:
    """Return where the figures come from: the command, the commit, the machine; and what has changed since."""
    by = f"`{run.command}`, {run.date}"
    with_commit = f", with commit {run.commit}" if run.commit else ""
    return wrapped(f"{by}{with_commit}: {describe(run.machine)}.") + stale(run)


def stale(*runs: Run) -> str:
    """Return the modules that have changed since they were measured; an empty string if none has."""
    names = dict.fromkeys(name for run in runs for name in changed(run.code))
    return wrapped(f"*Changed since then: {', '.join(f'`{name}`' for name in names)}.*") if names else ""


def wrapped(text: str) -> str:
    """Return text in lines that one can read in the source of a page."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def show(records: Sequence[Record]) -> None:
    """Print a table to the terminal."""
    from rich.console import Console
    from rich.table import Table

    head, *rows = grid(records)
    table = Table()
    for i, column in enumerate(head):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 120)  # piped, it would be 80
    console.print(table)

"""What the pages call in their blocks of cog, to print tables of what was measured.

<!-- [[[cog from benchmarks import pages; pages.tables("start_up", "ratio") ]]] -->
<!-- [[[end]]] -->
"""

from benchmarks import tables as as_tables
from benchmarks.capacity import FORMULA, plan
from benchmarks.records import RESULTS_DIR, Place, Run

MILLION = 1_000_000


def tables(measurement: str, *names: str, ranges: bool = True, source: bool = True) -> None:
    """Print where the figures come from, and tables of one measurement (default: all of them)."""
    if not (RESULTS_DIR / f"{measurement}.json").exists():
        print("Not measured yet.")
        return
    run = Run.read(measurement)
    if source:
        print(as_tables.source(run))
    for name in names or run.tables():
        print(as_tables.markdown(*as_tables.grid(run.table(name), ranges=ranges)))


def claims(*claims: tuple[str, str, Place]) -> None:
    """Print figures in one table, each with two digits, its range, its command and its commit.

    A claim is what the figure says, and where it stands: measurement, (table, row, column).
    """
    runs = {measurement: Run.read(measurement) for _, measurement, _ in claims}
    rows = []
    for text, measurement, place in claims:
        run = runs[measurement]
        record = run.figures[place]
        figure = f"{as_tables.cell(record, digits=2)} {record.unit}".strip()
        rows.append([text, figure, f"`{run.command}`", run.commit])
    print(as_tables.markdown(["", "measured", "with", "commit"], *rows))
    print(as_tables.stale(*runs.values()), end="")


def capacity() -> None:
    """Print what a million tasks per second would take, and the formula."""
    run = Run.read("worker_rate")
    print(as_tables.source(run))
    print(f'```text skip="a formula"\n{FORMULA}\n```\n')
    print(as_tables.markdown(*as_tables.grid(plan(MILLION, run))))

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
    """Print figures as a list, each with two digits, its range, its command and its commit.

    A claim is what the figure says, and where it stands: measurement, (table, row, column).
    """
    runs = {measurement: Run.read(measurement) for _, measurement, _ in claims}
    for text, measurement, place in claims:
        run, record = runs[measurement], runs[measurement].figures[place]
        figure = f"{as_tables.cell(record, digits=2)} {record.unit}".strip()
        print(f"- {text}: {figure} (`{run.command}`, commit {run.commit})")
    print("\n" + as_tables.stale(*runs.values()), end="")


def front_page() -> None:
    """Print what the front page claims."""
    claims(
        ("one worker process", "worker_rate", ("program", "at-least-once", "rate")),
        ("times as much as one task at a time", "worker_rate", ("ratio", "at-least-once / one-by-one", "measured")),
    )


def capacity() -> None:
    """Print what a million tasks per second would take, and the formula."""
    run = Run.read("worker_rate")
    print(as_tables.source(run))
    print(f'```text skip="a formula"\n{FORMULA}\n```\n')
    print(as_tables.markdown(*as_tables.grid(plan(MILLION, run))))

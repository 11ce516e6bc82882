"""Outcomes as flat records in a file, and as tables at the terminal and in the pages, whose blocks of cog call this."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.records import Record, Run
from benchmarks.tables import grid, markdown, number, source, wrapped
from common.settings import ROOT

from .catalogue import FAULTS
from .outcome import ALSO, MODES, Outcome

DATA = ROOT / "faults" / "results" / "faults.json"
MEASURED = (
    *("5_task_queue/iris_classifier_task_queue_worker.py", "5_task_queue/worker", "5_task_queue/client"),
    *("5_task_queue/iris_classifier_cli_client_task_queue.py", "5_task_queue/beyond/postgres_store.py"),
    "4_message_queue/iris_classifier_mq_persister.py",
    *("common/embedded_kafka", "common/iris_model", "common/kafka", "common/results"),
)

SHOWN = (  # of the columns; all others stand in the file
    *("times", "sent", "without id", "lost", "wrong answers", "rows doubled", "rows doubled, no id", "results doubled"),
    *("executed again", "standstill", "longest wait", "recovery"),
)


def read(path: Path = DATA) -> Run:
    """Return the figures in a file."""
    return Run.read(path.stem, path.parent)


def of_all(run: Run) -> str:
    """Return one digest of all the code that was measured."""
    return hashlib.sha256(json.dumps(run.code).encode()).hexdigest()[:16]


def add(run: Run, outcomes: Iterable[Outcome], measured: Run | None = None) -> None:
    """Add outcomes to a run, in place of what it has of the same faults.

    `measured` says with which code, if that is not what the run says of itself.
    """
    by = measured or run
    problems: dict[str, list[str]] = run.settings.get("problems", {})
    for outcome in outcomes:
        for place in [p for p in run.figures if p[0].startswith(outcome.delivery) and p[1] == outcome.fault]:
            del run.figures[place]
        run.figures |= {record.place: record for record in outcome.records()}
        problems[f"{outcome.fault}, {outcome.delivery}"] = outcome.problems + outcome.slow
        rows = run.settings.setdefault("measured", {})
        rows[f"{outcome.fault}, {outcome.delivery}"] = f"{by.command}, {by.date}, commit {by.commit}, code {of_all(by)}"
    run.settings["problems"] = {name: found for name, found in problems.items() if found}
    order = list(FAULTS)
    run.figures = dict(sorted(run.figures.items(), key=lambda figure: order.index(figure[0][1])))


def write(path: Path, run: Run, outcomes: Iterable[Outcome]) -> None:
    """Write outcomes and where they come from. Single faults take their places among those that are in the file."""
    measured = run
    if "--fault" in run.command and path.exists():
        run = read(path)
    add(run, outcomes, measured)
    replace(run, measurement=path.stem).write(path.parent)


def records(run: Run, delivery: str, texts: bool = True) -> list[Record]:
    """Return the table of one delivery mode: each row with the figures that it alone has, and with its fault's text."""
    also: dict[str, str] = {}
    for record in run.table(delivery + ALSO):
        also[record.row] = also.get(record.row, "") + f"; {record.column}: {number(record.value)}"
    names = {name: f"{fault.text} (`{name}`{also.get(name, '')})" for name, fault in FAULTS.items()}
    if not texts:
        names = {name: name + also.get(name, "") for name in FAULTS}
    shown = [record for record in run.table(delivery) if record.column in SHOWN]
    return [replace(record, row=names[record.row], at_most=None) for record in shown]


def unmeasured(run: Run) -> list[str]:
    """Return the faults that are not in a run in all modes that they have."""
    there = {(record.table, record.row) for record in run.figures.values()}
    return [name for name, fault in FAULTS.items() if fault.full and any((m, name) not in there for m in fault.modes)]


def missed(run: Run) -> list[str]:
    """Return what is not as it must be, a line each."""
    bars = [f"{r.row}, {r.table}: {r.column} {number(r.value)}, {r.bar}" for r in run.figures.values() if not r.reached]
    problems = run.settings.get("problems", {})
    return bars + [f"{name}: {problem}" for name, found in problems.items() for problem in found]


def show() -> None:
    """Print where the last figures come from, and their tables."""
    run = read()
    print(source(run))
    for delivery in MODES:
        print(markdown(*grid(records(run, delivery))))
    if names := unmeasured(run):
        print(wrapped(f"*Not measured yet: {', '.join(f'`{name}`' for name in names)}.*"))
    for line in missed(run):
        print(f"**Missed:** {line}\n")


def claim() -> None:
    """Print in one sentence what all faults together have done; a request from a fresh client is not one."""
    run = read()
    counted = [record for record in run.figures.values() if record.row != "fresh-clients"]
    names = ("times", "sent", "lost", "rows doubled")
    times, sent, lost, doubled = (number(sum(r.value for r in counted if r.column.startswith(n))) for n in names)
    died = f"programs killed, frozen or misled {times} times"
    source = f"(`python -m faults`, commit {run.commit})"
    print(f"- {died}: {lost} of {sent} tasks lost, {doubled} rows doubled {source}")

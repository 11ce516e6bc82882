"""Outcomes as lines of a terminal, as JSON, and as a table in stage 5's RELIABILITY.md, which `show()` prints."""

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.tables import markdown, number, wrapped
from common.settings import ROOT
from faults.catalogue import FAULTS
from faults.outcome import Outcome

DATA = ROOT / "faults" / "results" / "faults.json"
FAULT_COLUMNS = (
    *("fault", "delivery", "times", "sent", "results", "lost", "rows doubled, SQLite", "rows doubled, PostgreSQL"),
    *("results doubled", "executed again", "standstill, s", "longest wait, s"),
)
NOT_GUARANTEED = (
    (
        "one result per task message in at-least-once mode",
        "a worker that dies between delivery and commit leaves a batch, or a few lone tasks, that are done again; "
        "the second result is no second row, as the task id is the key",
    ),
    (
        "one execution per task, in either mode",
        "work that was not committed is done again; what a handler does outside Kafka is not undone",
    ),
    (
        "one result where one id is submitted twice",
        "two messages are two tasks to Kafka; the store keeps one row",
    ),
    (
        "no late message of a transaction that a coordinator has ended",
        "the client library does not speak the second part of KIP-890 yet: readers stay idempotent by task id",
    ),
    (
        "exactly-once on a lone broker that is killed, other than the embedded one",
        "Kafka 4.3 can leave a transaction open for ever when its only broker comes back "
        "(`common/embedded_kafka/fencing.py` says why): use three",
    ),
    (
        "these times on a hosted Kafka",
        "its session timeout is 45 s and a dead broker is noticed after 9 s, unless it is set as in "
        "`common/embedded_kafka/broker_settings.py`",
    ),
    (
        "results that were in a topic when somebody deleted it",
        "they are gone if the persister had not stored them",
    ),
)

HEAD = (
    f"{'fault':<20} {'delivery':<14} {'times':>5} {'sent':>7} {'results':>7} {'lost':>5} {'rows+':>5} "
    f"{'pg+':>5} {'results+':>8} {'again':>6} {'still':>6} {'wait':>6} {'took':>6}  seconds"
)


def line(outcome: Outcome) -> str:
    """Return an outcome as a line under HEAD, and what it missed."""
    o = outcome
    text = (
        f"{o.fault:<20} {o.delivery:<14} {o.times:>5} {o.sent:>7} {o.results:>7} {o.lost:>5} {o.rows_doubled:>5} "
        f"{_or_dash(o.postgres_rows_doubled):>5} {o.results_doubled:>8} {o.executions_again:>6} {o.standstill:>6.1f} "
        f"{o.longest_wait:>6.1f} {o.seconds:>6.0f}"
    )
    return "\n".join([text, *(f"    MISSED: {what}" for what in o.missed()), *(f"    {note}" for note in o.notes)])


def _or_dash(count: int | None) -> str:
    return "–" if count is None else str(count)


def write(path: Path, outcomes: list[Outcome], command: str, machine: dict[str, Any]) -> None:
    """Write the figures, with the command and the machine. Single faults take their places among the others."""
    rows = {(outcome.fault, outcome.delivery): outcome.to_json() for outcome in outcomes}
    if " --fault " in command and path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        command = known["command"]
        rows = {(row["fault"], row["delivery"]): row for row in known["faults"]} | rows
    data = {"command": command, "machine": machine, "faults": list(rows.values())}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def keep_logs(source: Path, target: Path) -> None:
    """Copy what the programs have printed."""
    for log in source.rglob("*.log"):
        copy = target / log.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(log.read_bytes())


def show() -> None:
    """Print the table of the last figures, what is not guaranteed, and where the figures come from."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    print(markdown(FAULT_COLUMNS, *rows(data["faults"])))
    print(markdown(["what is not guaranteed", "why"], *NOT_GUARANTEED))
    print(wrapped(f"`{data['command']}`, {data['machine']['date']}: {describe(data['machine'])}."), end="")


def claim() -> None:
    """Print in one line what all faults together have done."""
    faults = [row for row in json.loads(DATA.read_text(encoding="utf-8"))["faults"] if row["fault"] != "fresh-clients"]
    names = ("times", "sent", "lost", "rows_doubled", "postgres_rows_doubled")
    times, sent, lost, *doubled = (sum(row[name] or 0 for row in faults) for name in names)
    died = f"programs killed, frozen or misled {number(times)} times"
    print(f"- {died}: {lost} of {number(sent)} tasks lost, {sum(doubled)} rows doubled (`python -m faults`)")


def rows(faults: list[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of the fault table, and a row for each bar that was missed."""
    found = []
    for f in faults:
        text = FAULTS[f["fault"]].text if f["fault"] in FAULTS else f["fault"]
        notes = "".join(f"; {note}" for note in f["notes"])
        cells = [f"{text} (`{f['fault']}`{notes})", f["delivery"], f["times"], f["sent"], f["results"], f["lost"]]
        cells += [f["rows_doubled"], _or_dash(f["postgres_rows_doubled"]), f["results_doubled"], f["executions_again"]]
        cells += [f"{f['standstill']:.1f}", f"{f['longest_wait']:.1f}"]
        found.append([str(cell) for cell in cells])
        found += [[f"**missed:** {what}", *[""] * (len(cells) - 1)] for what in f["missed"]]
    return found

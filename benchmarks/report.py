"""Writes the measured tables into the READMEs, from the JSON files, and draws the plots anew.

A table stands between `<!-- table NAME -->` and `<!-- end -->`; what is there is replaced.

Run: python -m benchmarks.report            # write
     python -m benchmarks.report --check    # only tell whether the README says what the JSON says
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.capacity import FORMULA, plans_of
from benchmarks.harness import RESULTS_DIR, ROOT, number

README = Path(__file__).parent / "README.md"
READMES = (
    README,
    README.parents[1] / "README.md",
    README.parents[1] / "3_client_server" / "services" / "README.md",
)
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_YET = "Not measured yet.\n"
MILLION = 1_000_000

Record = dict[str, Any]


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown: numbers to the right."""
    lines = [" | ".join(columns), " | ".join("---" if i == 0 else "---:" for i in range(len(columns)))]
    lines += [" | ".join(cell if isinstance(cell, str) else number(cell) for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def origin(record: Record) -> str:
    """Return where figures come from: the command, the machine, the versions."""
    machine = record["machine"]
    if "versions" in record:  # stage 3's services
        versions = ", ".join(f"{name} {found}" for name, found in record["versions"].items())
        where = f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB"
        return f"`{record['command']}` on {record['date'][:10]}: {where}, {versions}.\n\n"
    libraries = ", ".join(f"{name} {found}" for name, found in machine["libraries"].items())
    return (
        f"`{record['command']}` on {machine['date']}: {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}, Python {machine['python']}, Kafka {machine['kafka']}, {libraries}.\n\n"
    )


def spread(value: Record) -> str:
    """Return a median with its least and greatest value."""
    return f"{number(value['median'])} ({number(value['min'])} to {number(value['max'])})"


def bars(ratios: dict[str, Record]) -> str:
    """Return the table of ratios and bars."""
    verdict = {True: "reached", False: "not reached", None: ""}
    rows = [
        (name, spread(ratio), ratio.get("bar", "–"), verdict[ratio.get("reached")]) for name, ratio in ratios.items()
    ]
    return "\n" + markdown(["ratio", "measured", "bar", ""], rows)


def scoreboard(record: Record) -> str:
    """Return throughput and cost of each stage, and what becomes of questions."""
    stages = record["stages"].values()
    columns = ["stage", *(f"{model}, {count}" for model in ("fast", "slow") for count in (1, 2, 4)), "backlog"]
    rate = [
        (
            s["title"],
            *(s["clients"][name]["per_second"]["median"] for name in columns[1:-1]),
            s["backlog"]["median"] if "backlog" in s else None,
        )
        for s in stages
    ]
    cost = [
        (
            s["title"],
            *(s["clients"][f"{m}, 1"][p]["median"] for m in ("fast", "slow") for p in ("p50_ms", "p99_ms")),
            s["clients"]["fast, 1"]["cpu_ms"]["median"],
            s["memory_mb"]["median"],
            s["start_up_s"]["median"],
        )
        for s in stages
    ]
    fate = [
        (s["title"], *(f"{s[n]['answered']} / {s[n]['refused']} / {s[n]['lost']}" for n in ("overload", "killed")))
        for s in stages
    ]
    costs = ["stage", "p50 ms", "p99 ms", "slow p50 ms", "slow p99 ms", "CPU ms", "memory MB", "start-up s"]
    fates = ["answered / refused / lost", "overload", "killed and started again"]
    head = "Predictions per second, by model and number of clients:\n\n"
    middle = "\nOne client; CPU and memory of what does the work:\n\n"
    end = "\nWhat becomes of the questions, all runs together:\n\n"
    limits = [(name, spread(found)) for name, found in record["limits"].items()]
    ratios = [(name, spread(found)) for name, found in record["ratios"].items()]
    raw = "\nThe raw limits, measured between the stages:\n\n" + markdown(["reference", "per second"], limits)
    raw += "\n" + markdown(["ratio", "measured"], ratios)
    return head + markdown(columns, rate) + middle + markdown(costs, cost) + end + markdown(fates, fate) + raw


def worker_rate(record: Record) -> str:
    """Return the rates of one process and the ratios."""
    rows = [
        (
            name,
            spread(p["tasks_per_second"]),
            p["cpu_us_per_task"]["median"],
            p["broker_cpu_us_per_task"]["median"],
            p["peak_mb"]["max"],
        )
        for name, p in record["programs"].items()
    ]
    columns = ["program", "tasks/s", "CPU µs/task", "broker's CPU µs/task", "greatest memory MB"]
    return markdown(columns, rows) + bars(record["ratios"])


def claims(record: Record) -> str:
    """Return what the front page claims of stage 5, each with its command."""
    worker, ratios = record["programs"]["at-least-once"], record["ratios"]
    rate, times = worker["tasks_per_second"]["median"], ratios["at-least-once / one-by-one"]["median"]
    share, memory = ratios["at-least-once / echo"]["median"], worker["peak_mb"]["max"]
    rows = [("one worker process, tasks per second", rate), ("times as many as one task at a time", times)]
    rows += [("share of what Kafka's own client can echo", share), ("its greatest memory, MB", memory)]
    path = ROOT / "faults" / "results" / "faults.json"
    faults = json.loads(path.read_text(encoding="utf-8"))["faults"] if path.exists() else []
    for what, keys in (
        ("times that a worker, a persister or a broker was killed, frozen or misled", ["times"]),
        ("tasks sent meanwhile", ["sent"]),
        ("of these lost", ["lost"]),
        ("rows doubled, in SQLite or PostgreSQL", ["rows_doubled", "postgres_rows_doubled"]),
    ):
        if faults:
            rows.append(
                (what, float(sum(row[key] or 0 for row in faults if row["fault"] != "fresh-clients" for key in keys)))
            )
    return markdown(["stage 5", "measured"], rows)


def round_trip(record: Record) -> str:
    """Return latencies of systems, the ratios, and what each change is worth."""
    keys = ("p50", "p99", "p50 of raw", "p99 of raw")
    rows = {name: [spread(f[key]) for key in keys] for name, f in record["systems"].items()}
    changed = {name: f["what"] for name, f in record["systems"].items() if f["what"]}
    raw = ("raw", spread(record["raw"]["p50"]), spread(record["raw"]["p99"]), 1, 1)
    columns = ["p50 ms", "p99 ms", "p50 of raw", "p99 of raw"]
    systems = markdown(["system", *columns], [raw, *((n, *row) for n, row in rows.items() if n not in changed)])
    changes = markdown(
        ["at-least-once, but", "what is different", *columns],
        [("as it is", "", *rows["at-least-once"]), *((n, what, *rows[n]) for n, what in changed.items())],
    )
    return systems + bars(record["ratios"]) + "\n" + changes


def start_up(record: Record) -> str:
    """Return start-up times and imports."""
    rows = [(name, spread(f)) for name, f in record["seconds"].items()]
    imports = [(p["package"], p["ms"], p["modules"]) for p in record["imports"][:8]]
    found = markdown(["program", "seconds"], rows) + bars(record["ratios"])
    return found + "\n" + markdown(["stage 1 imports", "ms", "modules"], imports)


def persister_rate(record: Record) -> str:
    """Return the persister's rate."""
    rate = record["results_per_second"]
    rows = [("persister", spread(rate)), ("bare SQLite", spread(record["bare_sqlite_per_second"]))]
    word = "reached" if rate["reached"] else "not reached"
    return markdown(["", "results/s"], rows) + f"\nBar: {number(rate['bar'])} results/s, {word}.\n"


def scale(record: Record) -> str:
    """Return one table per part."""
    parts = []
    for name in ("workers", "batches", "sizes", "brokers"):
        rows = record.get(name)
        if rows:
            columns = list(rows[0])
            cells = [[spread(r[c]) if isinstance(r[c], dict) else str(r[c]) for c in columns] for r in rows]
            parts.append(markdown([c.replace("_per_second", "/s").replace("_", " ") for c in columns], cells))
    return "\n".join(parts)


def profiles(record: Record) -> str:
    """Return the microseconds of each phase."""
    stages = record["microseconds"]
    phases = list(next(iter(stages.values())))
    rows = [(stage, *found.values(), sum(found.values())) for stage, found in stages.items()]
    return markdown(["µs of one task", *phases, "all"], rows)


def services(record: Record) -> str:
    """Return rates and latencies of the servers, and what the bars ask for."""
    rows = [
        (
            name,
            *(f"{f['rate']:,.0f} · {f['p50_ms']:.2f} · {f['p99_ms']:.1f}".replace(",", " ") for f in counts.values()),
            f"{record['memory_mb'][name]:.0f} MB",
        )
        for name, counts in record["figures"].items()
    ]
    counts = list(next(iter(record["figures"].values())))
    columns = ["requests/s · p50 ms · p99 ms", *(f"{count} at a time" for count in counts), "memory"]
    ratios = [
        ("model service's rate / plain FastAPI's", *record["times_the_reference"].values()),
        ("what the gateway adds to p50 / the model service's p50", *record["gateway_adds"].values()),
    ]
    found = markdown(columns, rows) + "\n" + markdown(["ratio", *(f"{count} at a time" for count in counts)], ratios)
    many = [(name, f["p50_ms"], f["times_one"]) for name, f in record["many_measurements"].items()]
    return found + "\n" + markdown(["1 000 measurements in a request", "p50 ms", "times that of one"], many)


def overload(record: Record) -> str:
    """Return the sweep of clients, with and without a limit."""
    sweeps = record["sweeps"]
    whats = {"predictions_per_second": "predictions/s", "p99_ms": "p99 ms", "refusals_per_second": "refused/s"}
    columns = ["clients", *(f"{name}: {what}" for name in sweeps for what in whats.values())]
    rows = [
        (str(steps[0]["clients"]), *(step[key] for step in steps for key in whats))
        for steps in zip(*sweeps.values(), strict=True)
    ]
    return markdown(columns, rows)


def capacity(record: Record) -> str:
    """Return the formula and what a million tasks per second would take."""
    found = plans_of(MILLION, record)
    rows = [(name, *(plan[name] for plan in found.values())) for name in next(iter(found.values()))]
    return f'```text skip="a formula"\n{FORMULA}\n```\n\n' + markdown(["1 000 000 tasks/s", *found], rows)


RENDERED: dict[str, tuple[str, Callable[[Record], str]]] = {  # table: which measurement, how
    "scoreboard": ("scoreboard", scoreboard),
    "claims": ("worker_rate", claims),
    "worker_rate": ("worker_rate", worker_rate),
    "round_trip": ("round_trip", round_trip),
    "start_up": ("start_up", start_up),
    "persister_rate": ("persister_rate", persister_rate),
    "scale": ("scale", scale),
    "profiles": ("profiles", profiles),
    "services": ("services", services),
    "overload": ("overload", overload),
    "capacity": ("worker_rate", capacity),
}


def render(text: str) -> str:
    """Return the README with every table as the JSON files have it."""

    def table(match: re.Match[str]) -> str:
        source, draw = RENDERED[match[2]]
        path = RESULTS_DIR / f"{source}.json"
        if not path.exists():
            return f"{match[1]}{NOT_YET}{match[3]}"
        record = json.loads(path.read_text(encoding="utf-8"))
        return f"{match[1]}{origin(record)}{draw(record)}{match[3]}"

    return TABLE.sub(table, text)


def main(argv: list[str] | None = None) -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the README says something else")
    args = parser.parse_args(argv)
    old = [readme.read_text(encoding="utf-8") for readme in READMES]
    new = [render(text) for text in old]
    if args.check:
        print("The READMEs say what was measured." if new == old else "Out of date. Run: python -m benchmarks.report")
        return int(new != old)
    for readme, text in zip(READMES, new, strict=True):
        readme.write_text(text, encoding="utf-8")

    from benchmarks.plots import draw_all

    print(f"Written: {len(READMES)} READMEs; drawn: {', '.join(path.name for path in draw_all()) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

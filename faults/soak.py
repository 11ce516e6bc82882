"""Runs everything for a long time under load, with faults in random order: nothing is lost, and nothing grows.

One program of each kind is never killed: its memory, threads and descriptors are judged. The JVM has its own limit.

Run: python -m faults.soak --minutes 60
     python -m faults.soak --minutes 2 --seed 7 --out .run/soak
"""

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import psutil

from benchmarks import tables
from benchmarks.records import Record, Run
from common.iris_model import load_model
from common.terminal import ArgumentParser, run

from . import network, soak_plot
from .client_faults import note_all
from .message_faults import INVALID
from .outcome import MODES, Outcome
from .rig import Rig
from .series import keep_logs
from .table import MEASURED
from .trial import Trial

RATE = 200.0  # tasks/s
RESULTS = Path(__file__).parent / "results"
QUIET_SECONDS = 3.0, 12.0  # between two faults
FROZEN_SECONDS, AWAY_SECONDS = 9.0, 3.0  # of a worker, so that others have its partitions; of the broker
SAMPLES = 300  # over the whole time
WARM_MINUTES = 10.0  # after this time memory is compared with what it is at the end; sooner, it is only shown
MOST_GROWTH, MOST_NEW = 1.1, 3.0  # ratio of memory; threads, or descriptors, more than then


class Sample(NamedTuple):
    """One look at a program."""

    minute: float
    memory_mb: float
    threads: float
    descriptors: float


class Watch(Thread):
    """Looks at the judged programs, the broker and at how many tasks wait, again and again."""

    def __init__(self, trial: Trial, seconds: float) -> None:
        super().__init__(daemon=True)
        crews = {"worker": trial.workers, "SQLite persister": trial.sqlite, "PostgreSQL persister": trial.postgres}
        self.programs = {name: crew.members[0].ps for name, crew in (crews | {"client": trial.clients}).items()}
        self.samples: dict[str, list[Sample]] = {name: [] for name in (*self.programs, "broker")}
        self.lag: list[tuple[float, float]] = []  # minute, tasks that wait
        self._kafka, self._pause = trial.rig.kafka, seconds / SAMPLES
        self._sent, self._answered = trial.load.sent, trial.observer.first
        self.began, self._told = time.monotonic(), Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._told.wait(self._pause):
            minute = (time.monotonic() - self.began) / 60
            for name, samples in self.samples.items():
                with suppress(psutil.Error, AssertionError):
                    of = self.programs.get(name) or psutil.Process(self._kafka.pid(1))
                    samples.append(Sample(minute, of.memory_info().rss / 2**20, of.num_threads(), of.num_fds()))
            self.lag.append((minute, len(self._sent) - len(self._answered)))

    def stop(self) -> None:
        """End looking."""
        self._told.set()
        self.join(60)


def frozen_worker(trial: Trial, i: int) -> None:
    """A zombie."""
    member = trial.workers.members[i]
    member.pause()
    trial.pause(FROZEN_SECONDS)
    member.resume()


def restarted_worker(trial: Trial, i: int) -> None:
    """As on every deployment."""
    trial.workers.leave(i)
    trial.workers.start(i)


def killed_persisters(trial: Trial, _: int) -> None:
    """One of each store."""
    trial.sqlite.kill(1)
    trial.postgres.kill(1)


def killed_broker(trial: Trial, _: int) -> None:
    """It comes back."""
    trial.rig.kafka.kill(1)
    trial.pause(1)
    trial.rig.kafka.start(1)


def frozen_broker(trial: Trial, _: int) -> None:
    """It goes on."""
    trial.rig.kafka.pause(1)
    trial.pause(AWAY_SECONDS)
    trial.rig.kafka.resume(1)


def junk(trial: Trial, _: int) -> None:
    """Messages that are no tasks."""
    for value in INVALID[:5] * 10:
        key = trial.load.new_id()
        trial.expected_errors[key] = "invalid"
        trial.load.raw(key, value)


def cut_workers(trial: Trial, _: int) -> None:
    """Nothing gets through for a while."""
    assert trial.network
    trial.network.cut()
    trial.pause(AWAY_SECONDS)
    trial.network.mend()


STRIKES: dict[str, Callable[[Trial, int], None]] = {
    "worker killed": lambda trial, i: trial.workers.kill(i),
    "worker frozen": frozen_worker,
    "worker restarted": restarted_worker,
    "persisters killed": killed_persisters,
    "broker killed": killed_broker,
    "broker frozen": frozen_broker,
    "junk": junk,
}
ON_A_NETWORK = {
    "workers cut off": cut_workers,
    "connections dead": lambda trial, _: trial.network and trial.network.half_open(),
}


def soak(trial: Trial, minutes: float, strikes: dict[str, Any]) -> tuple[Watch, list[tuple[float, str]]]:
    """Strike again and again; return what was seen, and when which fault happened (minute, name)."""
    trial.load.rate = RATE
    trial.flow(persisters=2, clients=1, apart="worker" if network.missing() == "" else "")
    watch, happened = Watch(trial, 60 * minutes), list[tuple[float, str]]()
    watch.start()
    end = watch.began + 60 * minutes
    while time.monotonic() < end:
        name = trial.rng.choice(list(strikes))
        trial.struck()
        happened.append(((time.monotonic() - watch.began) / 60, name))
        strikes[name](trial, trial.rng.choice([1, 2]))
        trial.keeps_up()
        trial.pause(trial.rng.uniform(*QUIET_SECONDS))
    watch.stop()
    note_all(trial)
    trial.finish()
    return watch, happened


def judge(samples: dict[str, list[Sample]], minutes: float) -> list[Record]:
    """Return what each program used when it was warm, and at the end.

    Warm is after WARM_MINUTES, or a third of a shorter run; each figure is a median over a sixth of the time.
    """
    found = []
    warm = min(WARM_MINUTES, minutes / 3)
    for program, looks in samples.items():
        for field, most in (("memory_mb", MOST_GROWTH), ("threads", None), ("descriptors", None)):
            early, late = (
                statistics.median([getattr(s, field) for s in looks if since <= s.minute <= since + minutes / 6] or [0])
                for since in (warm, minutes * 5 / 6)
            )
            unit, what = ("MB", "memory") if field == "memory_mb" else ("", field)
            bar = early * most if most and minutes >= 2 * WARM_MINUTES else None
            if most is None:
                bar = early + MOST_NEW
            bar = None if program == "broker" else bar
            found.append(Record("soak", program, f"{what}, warm", round(early, 1), unit))
            found.append(Record("soak", program, f"{what}, end", round(late, 1), unit, at_most=bar))
    return found


def main() -> int:
    """Soak, print, write and draw."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1, help="of the dice (default: 1)")
    parser.add_argument("--delivery", choices=MODES, default=MODES[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the figures (default: faults/results)")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="keep what programs printed if a bar is missed")
    args = parser.parse_args()
    strikes = dict(STRIKES)
    if reason := network.missing():
        print(f"Without bad networks: {reason}.", flush=True)
    else:
        network.enter_private_network()
        strikes |= ON_A_NETWORK
    load_model()
    measured = Run.begin("soak", [], MEASURED, seed=args.seed, minutes=args.minutes)
    measured.command = f"python -m faults.soak --minutes {args.minutes:g} --seed {args.seed} --delivery {args.delivery}"
    outcome = Outcome("soak", args.delivery)
    with Rig(1, 6) as rig, Trial(rig, outcome, args.seed) as trial:
        watch, happened = soak(trial, args.minutes, strikes)
        if args.logs and outcome.missed():
            keep_logs(rig, args.logs)
    records = [*judge(watch.samples, args.minutes), *outcome.records()]
    measured.figures = {record.place: record for record in records}
    samples = {name: [[round(n, 2) for n in s] for s in looks] for name, looks in watch.samples.items()}
    lag = [[round(minute, 2), tasks] for minute, tasks in watch.lag]
    measured.settings |= {"samples": samples, "lag": lag, "faults": [[round(at, 2), what] for at, what in happened]}
    measured.write(args.out)
    soak_plot.draw(measured, args.out / "soak.svg")
    for table in measured.tables():
        tables.show(measured.table(table))
    missed = [f"{r.row}: {r.column} {r.value:g}, {r.bar}" for r in records if not r.reached] + outcome.problems
    print("\n".join(missed or ["Nothing was lost, and nothing grew."]))
    return 1 if missed else 0


if __name__ == "__main__":
    run(main)

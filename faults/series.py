"""Tries faults one after the other; neighbours that need the same Kafka share it, unless something went wrong."""

import shutil
import traceback
from pathlib import Path
from typing import Self

from .catalogue import FAULTS
from .outcome import Outcome
from .rig import Rig
from .trial import Trial

RATE, QUICK_RATE = 600.0, 300.0  # tasks/s, unless the fault wants another
FEW, MANY = 3, 20  # how often a fault happens that is asked for by name, and has no number in this mode


class Series:
    """Keeps the Kafka of the last fault for the next one, for the length of a `with` block."""

    def __init__(self, quick: bool, seed: int, logs: Path | None = None) -> None:
        """`logs` is a folder for what programs printed where a bar was missed."""
        self.quick, self.seed, self._logs = quick, seed, logs
        self._rig: Rig | None = None
        self._kind = (0, 0, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rig:
            self._rig.__exit__()
            self._rig = None

    def try_fault(self, name: str, delivery: str) -> Outcome:
        """Return what one fault has done in one delivery mode."""
        fault = FAULTS[name]
        outcome = Outcome(name, delivery, fault.most_standstill, fault.most_wait, fault.most_recovery)
        try:
            with Trial(self._rig_for(*fault.kafka), outcome, self.seed) as trial:
                trial.load.rate = QUICK_RATE if self.quick else RATE
                fault.happen(trial, (fault.quick or FEW) if self.quick else (fault.full or MANY))
                trial.finish()
        except Exception as error:
            traceback.print_exc()
            outcome.problems.append(f"{type(error).__name__}: {error}")
        if outcome.missed():
            if self._logs and self._rig:
                keep_logs(self._rig, self._logs / f"{name}-{delivery}")
            self.__exit__()
        return outcome

    def _rig_for(self, brokers: int, partitions: int, apart: bool) -> Rig:
        if self._rig and self._kind != (brokers, partitions, apart):
            self.__exit__()
        if not self._rig:
            self._kind = brokers, partitions, apart
            self._rig = Rig(brokers, partitions, not self.quick, apart).__enter__()
        return self._rig


def keep_logs(rig: Rig, folder: Path) -> None:
    """Copy what brokers and programs have printed."""
    logs = {f"broker-{i}.log": rig.kafka.log(i) for i in rig.kafka.ids}
    logs |= {str(log.relative_to(rig.folder)): log for log in rig.folder.rglob("*.log")}
    for name, log in logs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, folder / name)

"""A number for each worker on this machine, the first that is free; it frees itself when the worker ends or dies."""

from filelock import FileLock, Timeout

from common.errors import ProgramError
from common.settings import RUN_DIR

MAX_SLOTS = 1000


def take_slot(slot: int | None = None) -> tuple[int, FileLock]:
    """Return a free slot, or the one asked for, and the lock to hold for as long as the worker lives.

    Raises:
        ProgramError: another living worker has it.
    """
    folder = RUN_DIR / "slots"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MAX_SLOTS) if slot is None else [slot]:
        lock = FileLock(folder / f"{number}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return number, lock
    raise ProgramError(f"Slot {slot} is taken by another worker." if slot is not None else "No slot is free.")

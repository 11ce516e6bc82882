"""Which worker this is: a number on this machine, and a transactional id that no other living worker has anywhere.

The number is the first that is free; it frees itself when the worker ends or dies. The next worker with this number
has the same transactional id, and so ends the transaction that a dead one has left open: readers need not wait for its
time-out. Two living workers with one id would fence each other for ever, so it names the host and the checkout, too.
(Offsets do not need the id: KIP-447 protects them by the membership in the group.)
"""

import socket
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import ProgramError
from common.settings import RUN_DIR

MAX_SLOTS = 1000


def take_slot(slot: int | None = None) -> tuple[int, FileLock]:
    """Return a free slot, or the one asked for, and the lock to hold for as long as the worker lives.

    Raises:
        ProgramError: another living worker has it.
    """
    folder = _folder()
    for number in range(MAX_SLOTS) if slot is None else [slot]:
        lock = FileLock(folder / f"{number}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return number, lock
    raise ProgramError(f"Slot {slot} is taken by another worker." if slot is not None else "No slot is free.")


def transactional_id(group: str, slot: int) -> str:
    """Return the transactional id of the worker with this slot, the same after every restart."""
    folder = _folder()
    name = folder / "checkout"
    with FileLock(folder / "checkout.lock"):
        if not name.exists():
            name.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        checkout = name.read_text(encoding="utf-8")
    return f"{group}-{socket.gethostname()}-{checkout}-{slot}"


def _folder() -> Path:
    folder = RUN_DIR / "slots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""Which worker this is: a name on this machine, and a transactional id that no other living worker has anywhere.

Why the id matters (KIP-447): offsets are protected by the membership in the group, whatever the id. The id protects the
open transaction: the next worker with the same id ends the one that a dead worker has left open, and readers need not
wait for its timeout. Two living workers with one id would fence each other.

- Without a name of its own, a worker takes the first free number. It frees itself when the worker ends or dies. The id
  also says where the number was taken: on another host, in another container or checkout it is another id.
- `IRIS_WORKER_NAME`, such as the name of a StatefulSet's pod, is the id on every host. Whoever starts two workers with
  one name has the older one fenced: it ends.
"""

import hashlib
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import ProgramError
from common.settings import RUN_DIR, load_settings

MAX_SLOTS = 1000
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of this start of the machine
NAMESPACE = Path("/proc/self/ns/mnt")  # every container has one of its own


def take_slot(slot: int | None = None) -> tuple[str, FileLock]:
    """Return the worker's name (its own, or a free number), and the lock to hold for as long as the worker lives.

    Raises:
        ProgramError: another living worker of this machine has it, or no lock can be written here.
    """
    own = load_settings().worker_name
    for name in [own] if own else map(str, range(MAX_SLOTS) if slot is None else [slot]):
        lock = FileLock(_folder() / f"{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return name, lock
    if own:
        raise ProgramError(f"The name {own} (IRIS_WORKER_NAME) is taken by another worker.")
    raise ProgramError(f"Slot {slot} is taken by another worker." if slot is not None else "No slot is free.")


def transactional_id(group: str, name: str) -> str:
    """Return the transactional id of the worker with this name, the same after every restart of the worker."""
    if load_settings().worker_name:
        return f"{group}-{name}"
    return f"{group}-{socket.gethostname()}-{_where()}-{name}"


def _where() -> str:
    """Return what no two folders of locks have in common that exist at the same time, as eight characters."""
    folder = _folder().stat()  # a copy of the folder is another one: file systems number theirs
    parts = [folder.st_dev, folder.st_ino, BOOT_ID.read_text() if BOOT_ID.exists() else "", socket.gethostname()]
    if NAMESPACE.exists():
        parts.append(NAMESPACE.stat().st_ino)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _folder() -> Path:
    folder = RUN_DIR / "slots"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProgramError(f"Cannot write the locks of workers: {error.strerror}: {error.filename}.") from None
    return folder

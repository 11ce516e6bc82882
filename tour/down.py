"""Ends what `python -m tour.up` has left running: workers, server and persister first, and then the broker.

Run: python -m tour.down     (or: make down)
"""

from filelock import FileLock

from common.settings import RUN_DIR
from common.terminal import ArgumentParser, run

from .background import LOCK, LOCK_SECONDS, end, read_notes, write_notes


def main(argv: list[str] | None = None) -> int:
    """End all, in order."""
    ArgumentParser(__doc__).parse_args(argv)
    RUN_DIR.mkdir(exist_ok=True)
    with FileLock(LOCK, timeout=LOCK_SECONDS):
        programs = read_notes()
        print("Ending:" if programs else "Nothing is running.", flush=True)
        broker = programs.pop("broker", None)
        end(list(reversed(programs.values())))
        write_notes([broker] if broker else [])
        if broker:
            end([broker])
        write_notes([])
    return 0


if __name__ == "__main__":
    run(main)

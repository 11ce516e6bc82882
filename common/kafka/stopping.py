"""How a program ends: Ctrl-C and SIGTERM let it finish what it has in hand, for a moment."""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable

GRACE_SECONDS = 2.0  # after a request to end: longest wait for what is in hand
HARD_STOP_SECONDS = 2.7  # after a request to end: the program is gone


def default_signals() -> None:
    """Have Ctrl-C and SIGTERM end the program again as they end any."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Stop:
    """Set by SIGTERM or Ctrl-C: `while not stop.requested:` ends its round and leaves.

    A thread of its own takes the signal, as the main thread may be inside the client library, which can wait for a
    broker that is away for a minute. A program that has not ended by itself after HARD_STOP_SECONDS is ended as by a
    crash: what it had in hand is not committed, and so not lost.
    """

    def __init__(self, signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._event = threading.Event()
        self._since = 0.0
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        numbers = set(signals)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # the interpreter writes each signal's number there
        threading.Thread(target=self._listen, args=(read, numbers), daemon=True).start()

    def _listen(self, read: int, numbers: set[signal.Signals]) -> None:
        while os.read(read, 1)[0] not in numbers:
            pass
        self._since = time.monotonic()
        self._event.set()
        # The client library can also wait while it keeps Python's lock; then this thread would not come to its end.
        faulthandler.dump_traceback_later(HARD_STOP_SECONDS + 0.1, exit=True, file=self._nowhere)
        time.sleep(HARD_STOP_SECONDS)
        print("Kafka does not answer. Ended without waiting for it; nothing is lost.", file=sys.stderr, flush=True)
        os._exit(1)

    def seconds_since(self) -> float:
        """Return how long ago the program was asked to end, in seconds."""
        return time.monotonic() - self._since

    @property
    def requested(self) -> bool:
        """Return whether the program has been asked to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, at most this long; return whether the program has been asked to end."""
        return self._event.wait(seconds)

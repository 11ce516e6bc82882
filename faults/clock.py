"""A clock that is wrong: of one program, in Python; the client library and the brokers have the right one."""

import time


def shift(seconds: float) -> None:
    """Let `time.time()` be so many seconds ahead from now on."""
    right = time.time
    time.time = lambda: right() + seconds

"""The walk: one measurement through all six stages, as real programs, in one to two minutes.

It uses free ports and a temporary folder, ends whatever it has started, and fails if something that it shows did not
happen.

Run: python -m tour     (or: make demo)
"""

import signal
from typing import NoReturn

from common.terminal import ArgumentParser, run

from .alone import stage_0, stage_1, stage_2
from .kafka import kafka
from .message_queue import stage_4
from .screen import Screen
from .server import stage_3
from .task_queue import stage_5
from .walk import FLOWER, Walk

PARTS = (stage_0, stage_1, stage_2, stage_3, kafka, stage_4, stage_5)


def main(argv: list[str] | None = None) -> int:
    """Walk through the stages and say how long each took."""
    ArgumentParser(__doc__).parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt_once)
    screen = Screen()
    screen.note(f"One flower, {FLOWER} (cm), travels through six stages. The walk uses free ports and a folder of its")
    screen.note("own and touches nothing else that runs here; the commands that it shows use the default ports.")
    with Walk(screen) as walk:
        for part in PARTS:
            part(walk)
        with screen.doing("cleaning up"):
            walk.close()
    screen.summary()
    return 0


def interrupt_once(*_: object) -> NoReturn:
    """Let the first Ctrl-C or SIGTERM end the walk, and none after it disturb the clean-up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    run(main)

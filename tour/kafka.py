"""Between stages 3 and 4 of the walk: the real Kafka."""

import time

from jgo.constants import default_maven_repo

from common.embedded_kafka.jars import FETCH_SECONDS

from .walk import Walk, expect

# A program of its own, so that Ctrl-C can end it while it waits for the network.
FETCH = """
from common.embedded_kafka.jars import class_path
from common.settings import RUN_DIR
from common.terminal import run
run(lambda: 0 if class_path(RUN_DIR) else 1)
"""
LOOK_SECONDS = 0.05  # between two looks at the program
TELL_SECONDS = 2.0  # how often the progress of the download is told


def kafka(walk: Walk) -> None:
    """Fetch Kafka where it is not there, and start it."""
    screen = walk.screen
    with screen.part("Kafka, for stages 4 and 5", "between the programs stands a broker, which keeps what is sent"):
        screen.command("python -m common.embedded_kafka")
        fetch_jars(walk)
        with screen.doing("Kafka starts"):
            address = walk.start_kafka()
        screen.output([f"Kafka is ready: {address}"])


def fetch_jars(walk: Walk) -> None:
    """Make sure that Kafka's jars are on this machine, and show how much has come."""
    began, told = time.time(), time.monotonic()
    deadline = told + FETCH_SECONDS
    program = walk.launch(["python", "-c", FETCH], name="Fetching Kafka's jars")
    with walk.screen.doing("looking for Kafka's jars") as update:
        while program.is_running() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            if program.lines and time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                update(f"the first time, Kafka's jars are fetched: {_megabytes_since(began):.0f} of about 44 MB")
        expect(not program.is_running(), f"Kafka's jars could not be fetched within {FETCH_SECONDS:g} s.")
        program.finish()


def _megabytes_since(began: float) -> float:
    """Return the size of what has come to the local Maven repository since this moment."""
    jars = [path.stat() for path in default_maven_repo().rglob("*.jar")]
    return sum(jar.st_size for jar in jars if jar.st_mtime >= began) / 1e6

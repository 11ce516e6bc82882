"""What Java has learnt of Kafka in one start, kept for the next ones: they then take half the processor time.

`prepare.py` makes it, in a quarter of a minute. Java ignores one that was made with other jars or by another Java, and
starts as without. For tests alone: a user's first start would take longer than all later ones gain.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from filelock import FileLock

from common.embedded_kafka import EmbeddedKafka
from common.embedded_kafka.broker_settings import JVM_OPTIONS, QUICK_FLAGS
from common.embedded_kafka.jars import class_path, java
from common.programs import until
from common.settings import RUN_DIR

CACHE = RUN_DIR / "kafka.aot"
MAKE_SECONDS = 300.0
QUIET = "-Xlog:aot*=off"  # where a broker prints, tests look for its own last words


def java_flags() -> list[str]:
    """Return Java's options for brokers that live for some seconds.

    They spend most of their time on loading, and on compiling, what they will not use for long.
    """
    return [*QUICK_FLAGS, *([f"-XX:AOTCache={CACHE}", QUIET] if CACHE.exists() else [])]


def make() -> None:
    """Make the cache, unless there is one that this Java takes with these jars.

    Raises:
        KafkaStartError: Kafka does not start here.
    """
    RUN_DIR.mkdir(exist_ok=True)
    with FileLock(CACHE.with_suffix(".lock"), timeout=MAKE_SECONDS):
        if _is_usable(CACHE):
            return
        print("Making Java's cache of Kafka's classes, once ...", flush=True)
        with tempfile.TemporaryDirectory(dir=RUN_DIR) as folder:
            data, new = Path(folder) / "kafka", Path(folder) / CACHE.name
            with _kafka(data):  # formats the data folder
                pass
            with _kafka(data, f"-XX:AOTCacheOutput={new}", QUIET) as kafka:
                os.kill(kafka.pid(1), signal.SIGTERM)  # Java writes the cache as it ends
                until(lambda: not kafka.is_running(1), MAKE_SECONDS, "Java's cache")
            if _is_usable(new):
                new.replace(CACHE)


def _is_usable(cache: Path) -> bool:
    """Return whether Java takes this file; it looks at the times and sizes of the jars."""
    flags = [*QUICK_FLAGS, QUIET, "-XX:AOTMode=on", f"-XX:AOTCache={cache}"]
    command = [java(), *flags, "-cp", os.pathsep.join(class_path(RUN_DIR)), "-version"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def _kafka(data: Path, *flags: str) -> Iterator[EmbeddedKafka]:
    options = {JVM_OPTIONS: " ".join([*QUICK_FLAGS, *flags])}
    with mock.patch.dict(os.environ, options), EmbeddedKafka(data_dir=data) as kafka:
        yield kafka

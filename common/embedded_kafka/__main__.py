"""The command: start, say so, wait for Ctrl-C, stop."""

import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from common.settings import RUN_DIR, load_settings
from common.terminal import ArgumentParser, run

from . import __doc__ as about
from .cluster import EmbeddedKafka
from .jars import KafkaStartError
from .leftovers import KafkaAlreadyRunning
from .locked import EVERYTHING, how_to_use


def main(argv: list[str] | None = None) -> int:
    """Start, say so, wait for Ctrl-C, stop."""
    parser = ArgumentParser(about, "kafka_bootstrap_servers")
    parser.add_argument("--brokers", type=int, default=1, choices=range(1, 10), metavar="N", help="1 to 9 (default: 1)")
    parser.add_argument(
        "--port",
        type=int,
        choices=range(1, 65536),
        metavar="P",
        help="the first broker's (default: as in the settings)",
    )
    parser.add_argument("--data-dir", type=Path, metavar="D", help="where messages stay (default: .run/kafka)")
    parser.add_argument("--secure", action="store_true", help="only for users with a password, by TLS")
    args = parser.parse_args(argv)
    first = load_settings().kafka_bootstrap_servers.split(",")[0]
    host, _, settings_port = first.rpartition(":")
    usable = host in ("localhost", "127.0.0.1", "[::1]") and settings_port.isdigit() and 0 < int(settings_port) < 65536
    if args.port is None and not usable:
        raise KafkaStartError(
            f"KAFKA_BOOTSTRAP_SERVERS says {first}, which is not a port of this machine: unset it, or use --port."
        )
    name = "kafka-secure" if args.secure else "kafka"
    data_dir = args.data_dir or RUN_DIR / (name if args.brokers == 1 else f"{name}-{args.brokers}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        port = args.port or int(settings_port)
        with EmbeddedKafka(args.brokers, port, data_dir, RUN_DIR, secure=args.secure) as kafka:
            if args.secure:
                print(how_to_use(kafka.user(EVERYTHING), kafka.bootstrap_servers))
            where = f"data in {_short(kafka.data_dir)}, log in {_short(kafka.log(1))}"
            print(
                f"Kafka is ready: {kafka.bootstrap_servers} ({_count(args.brokers)}, {where}). Press Ctrl-C to stop.",
                flush=True,
            )
            return _watch(kafka)
    except KafkaAlreadyRunning as running:
        if args.brokers > running.brokers:
            raise KafkaStartError(
                f"{running}, with {_count(running.brokers)}, not {args.brokers}: stop it first."
            ) from None
        print(running)
        return 0
    except KeyboardInterrupt:
        return 0


def _interrupt_once(*_: object) -> NoReturn:
    """Let the first Ctrl-C or SIGTERM end the program; ignore further ones while it stops."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _watch(kafka: EmbeddedKafka) -> int:
    """Say when a broker ends by itself; return when none is left."""
    running = list(kafka.ids)
    while running:
        time.sleep(0.2)
        for i in [i for i in running if not kafka.is_running(i)]:
            running.remove(i)
            print(f"Broker {i} ended: {kafka.last_words(i)} (log: {_short(kafka.log(i))})", file=sys.stderr, flush=True)
    return 1


def _count(brokers: int) -> str:
    return "1 broker" if brokers == 1 else f"{brokers} brokers"


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    run(main)

"""Logs with the request id in every line: text for people, one JSON object per line by setting.

07:12:33.120 INFO gateway POST /process 200 duration_ms=1.2 measurements=1 request_id=4f6c...
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from .settings import ServiceSettings

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # of the request that this task works on
LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "stamina")  # they speak through our handler too


class TextFormatter(logging.Formatter):
    """Time, level, service, message, then `name=value` for the rest."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        parts = [
            f"{_clock(int(record.created))}.{int(record.msecs):03}",
            record.levelname,
            self.service,
            _printable(record.getMessage()),
        ]
        parts += [f"{name}={value}" for name, value in _fields(record).items()]
        lines = [" ".join(parts)]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)


class JsonFormatter(TextFormatter):
    """The same as one JSON object, time in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self.service,
            "message": record.getMessage(),
        } | _fields(record)
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


@lru_cache(maxsize=1)
def _clock(second: int) -> str:
    return datetime.fromtimestamp(second).strftime("%H:%M:%S")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, "fields", {}))
    if request_id := REQUEST_ID.get():
        fields["request_id"] = request_id
    return fields


def _printable(message: str) -> str:
    return message if message.isprintable() else repr(message)[1:-1]  # nobody writes log lines of his own


def configure_logs(service: str, settings: ServiceSettings) -> None:
    """Send what we and the libraries log to standard error; uvicorn's access log is replaced by our own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonFormatter if settings.log_format == "json" else TextFormatter)(service))
    logging.raiseExceptions = False  # a log that cannot be written is no reason to fail
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # nobody reads them
    for name in ("iris", *LIBRARIES):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], False
    for name in ("iris", "uvicorn.error", "stamina"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).setLevel(settings.log_level)

"""Logs with the request id in every line: text for people, one JSON object per line by setting.

07:12:33.120 INFO gateway POST /process 200 duration_ms=1.2 measurements=1 request_id=4f6c...

The lines about requests are written together, 20 times a second, as a write for each would cost as much as a
prediction. Everything else is written at once, after the lines that wait. Who is killed (SIGKILL) loses those.
"""

import asyncio
import atexit
import json
import logging
import sys
import time
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec

from common.web.call import Call
from common.web.settings import ServiceSettings

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")  # of the request that this task works on
LIBRARIES = ("uvicorn", "uvicorn.error", "uvicorn.access", "stamina")  # they write through our handler too
WAIT_SECONDS = 0.05  # longest time that a line waits for others
logger = logging.getLogger("iris")
_encode = msgspec.json.Encoder(enc_hook=str).encode


class TextFormatter(logging.Formatter):
    """Time, level, service, message, then `name=value` for the rest."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        fields = {"request_id": REQUEST_ID.get()} if REQUEST_ID.get() else {}
        traceback = self.formatException(record.exc_info) if record.exc_info else ""
        return self.line(record.created, record.levelname, record.getMessage(), fields, traceback)

    def line(self, created: float, level: str, message: str, fields: dict[str, Any], traceback: str = "") -> str:
        """Return a line; `created` is Unix time in seconds."""
        second = int(created)
        head = f"{_clock(second)}.{int((created - second) * 1000):03} {level} {self.service} {_printable(message)}"
        return head + "".join([f" {name}={value}" for name, value in fields.items()]) + (traceback and "\n" + traceback)


class JsonFormatter(TextFormatter):
    """The same as one JSON object, time in UTC."""

    def line(self, created: float, level: str, message: str, fields: dict[str, Any], traceback: str = "") -> str:
        second = int(created)
        moment = f"{_utc(second)}.{int((created - second) * 1000):03}+00:00"
        entry = {"time": moment, "level": level, "service": self.service, "message": message, **fields}
        if traceback:
            entry["traceback"] = traceback
        try:
            return _encode(entry).decode()
        except UnicodeEncodeError:  # half a surrogate pair, which the JSON module can write
            return json.dumps(entry, default=str)


@lru_cache(maxsize=1)
def _clock(second: int) -> str:
    return datetime.fromtimestamp(second).strftime("%H:%M:%S")


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _printable(message: str) -> str:
    return message if message.isprintable() else repr(message)[1:-1]  # nobody forges a log line with a line break


class LineBuffer:
    """A stream for logging's handler, with a second entrance for lines that can wait."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()  # its operations are atomic: threads may log too
        self._timer: asyncio.TimerHandle | None = None

    def write(self, text: str) -> None:
        """Take text that the handler flushes at once."""
        self._lines.append(text)

    def write_later(self, line: str) -> None:
        """Take a line that is written within WAIT_SECONDS. Only for the event loop's thread."""
        self._lines.append(line + "\n")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Write everything that waits. A log that cannot be written is no reason to fail."""
        text = "".join([self._lines.popleft() for _ in range(len(self._lines))])
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


class RequestLog:
    """Writes a line about each request: at INFO if it did work or failed, else at DEBUG."""

    def __init__(self, formatter: TextFormatter, lines: LineBuffer) -> None:
        self._line, self._write = formatter.line, lines.write_later
        self._info, self._debug = logger.isEnabledFor(logging.INFO), logger.isEnabledFor(logging.DEBUG)

    def answered(self, call: Call) -> None:
        """Write the line about a request that has been answered."""
        info = call.limited or call.status >= 400
        if self._info if info else self._debug:
            fields = {
                "duration_ms": int(call.seconds * 10_000 + 0.5) / 10,
                **call.fields,
                "request_id": call.request_id,
            }
            message = f"{call.scope['method']} {call.scope['path']} {call.status}"
            self._write(self._line(time.time(), "INFO" if info else "DEBUG", message, fields))


def configure_logs(service: str, settings: ServiceSettings) -> RequestLog:
    """Send what we and the libraries log to standard error; uvicorn's access log is replaced by our own."""
    lines = LineBuffer(sys.stderr)
    atexit.register(lines.flush)
    handler = logging.StreamHandler(lines)
    formatter = (JsonFormatter if settings.log_format == "json" else TextFormatter)(service)
    handler.setFormatter(formatter)
    logging.raiseExceptions = False
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # nobody reads them
    for name in ("iris", *LIBRARIES):
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = [], False
    for name in ("iris", "uvicorn.error", "stamina"):
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).setLevel(settings.log_level)
    return RequestLog(formatter, lines)

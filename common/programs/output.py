"""What a program prints, as text: read from a pipe by a thread, or from the file that it is written to."""

import codecs
import io
import re
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from threading import Condition, Thread


class Stream:
    """The output of a program, or its error output. `seen` is where the next search begins."""

    seen = 0

    @property
    def text(self) -> str:
        """All that has come so far, with `\\n` at the end of each line."""
        raise NotImplementedError

    def is_open(self) -> bool:
        """Return whether more may come."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Return the lines so far; the last one once it is complete."""
        ended = not self.is_open()
        text = self.text
        whole = text if ended else text[: text.rfind("\n") + 1]
        return whole.removesuffix("\n").split("\n") if whole else []

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the next match."""
        if found := pattern.search(self.text, self.seen):
            self.seen = found.end()
        return found

    def find_line(self, pattern: re.Pattern[str]) -> str | None:
        """Return the next complete line with a match, without the space around it."""
        ended = not self.is_open()
        text, place = self.text, self.seen
        while (end := text.find("\n", place) + 1) or (ended and (end := len(text)) > place):
            line, place = text[place:end].strip(), end
            if pattern.search(line):
                self.seen = end
                return line
        return None


class Pipe(Stream):
    """A pipe or a terminal, read by a thread; `news` is notified of each piece.

    `wait` returns when the program has ended: a terminal that is closed before would send it a signal.
    """

    def __init__(self, end: FileIO, news: Condition, wait: Callable[[], object] | None = None) -> None:
        self._text, self._end, self._news, self._wait = "", end, news, wait
        self.times: list[float] = []  # when each line was complete, seconds on the monotonic clock
        self.printed_at = time.monotonic()  # the last piece
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return self._text

    def is_open(self) -> bool:
        return self._reader.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of the pipe; a program that the program has left behind may still hold it."""
        self._reader.join(seconds)

    def _read(self) -> None:
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=False)
        with self._end:
            while True:
                try:
                    data = self._end.read(65536) or b""
                except OSError:  # Linux reports the end of a terminal as an error
                    data = b""
                piece = decoder.decode(data, final=not data).replace("\r\n", "\n")
                with self._news:
                    self._text += piece
                    self.printed_at = time.monotonic()
                    self.times += [self.printed_at] * piece.count("\n")
                    self._news.notify_all()
                if not data:
                    break
            if self._wait:
                self._wait()


class Log(Stream):
    """A file that a running program writes to."""

    def __init__(self, path: Path, is_running: Callable[[], bool]) -> None:
        self._path, self.is_open = path, is_running

    @property
    def text(self) -> str:
        return self._path.read_text(encoding="utf-8", errors="replace")

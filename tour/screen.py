"""What the walk looks like: the same lines at a terminal and without one, colours and a spinner only at a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

MIN_WIDTH = 80  # characters; a table is not squeezed into less
MAX_OUTPUT = 110  # characters of a line that are shown


class Screen:
    """Prints the walk and measures how long each part takes."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False)
        self.console.width = max(self.console.width, MIN_WIDTH)
        self.seconds: dict[str, float] = {}  # per part
        self._began = time.monotonic()

    def _line(self, text: str = "", style: str = "") -> None:
        self.console.print(text, style=style, soft_wrap=True)

    @contextmanager
    def part(self, name: str, changes: str) -> Iterator[None]:
        """Put a title above a part, and say what changes; measure the part."""
        began = time.monotonic()
        self._line()
        self._line(name, "bold cyan")
        self._line(f"  changes: {changes}")
        yield
        self.seconds[name] = time.monotonic() - began

    def note(self, text: str) -> None:
        """Print a remark."""
        self._line(f"         {text}")

    def command(self, *lines: str) -> None:
        """Show a command as a reader would type it, and what is typed into it."""
        for number, line in enumerate(lines):
            self._line(f"         {'>' if number else '$'} {line}", "bold")

    def output(self, lines: Iterable[str]) -> None:
        """Show what came out."""
        for line in lines:
            text = line if len(line) <= MAX_OUTPUT else line[: MAX_OUTPUT - 4] + " ..."
            self._line(f"           {text}", "green")

    def limit(self, text: str) -> None:
        """Say what the stage cannot do."""
        self._line(f"  limit:   {text}", "yellow")

    @contextmanager
    def doing(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something takes a while; yield a function that changes the text."""
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            with self.console.status(text, spinner="line") as status:
                yield status.update
        else:
            self._aside(text)
            yield self._aside

    def _aside(self, text: str) -> None:
        self._line(f"         ({text} ...)", "dim")

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[object]], *, footer: bool = False) -> None:
        """Show a table; with `footer`, the last row is a sum."""
        rows = [[str(cell) for cell in row] for row in rows]
        table = Table(box=box.SIMPLE_HEAD)
        for number, head in enumerate(heads):
            table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
        for number, row in enumerate(rows):
            table.add_row(*row, end_section=footer and number == len(rows) - 2)
        self.console.print(Padding(table, (0, 0, 0, 8)))

    def summary(self) -> None:
        """Say how long each part took, and all of it."""
        total = time.monotonic() - self._began
        rows = [[name, f"{seconds:.1f} s"] for name, seconds in self.seconds.items()]
        self._line()
        self.table(["part", "time"], [*rows, ["all", f"{total:.1f} s"]], footer=True)

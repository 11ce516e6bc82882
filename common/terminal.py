"""What the programs share at the terminal: arguments, the prompt, how an answer is shown, how a program ends."""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from common.errors import ProgramError
from common.iris_dto import SPECIES, IrisType, split_words
from common.settings import settings_help

PROMPT = "sepal length, sepal width, petal length, petal width in cm (q quits)> "


class ArgumentParser(argparse.ArgumentParser):
    """argparse with the program's docstring and settings in `--help`, and one line about invalid arguments."""

    def __init__(self, doc: str | None, *settings: str) -> None:
        super().__init__(
            description=doc,
            epilog=settings_help(*settings) if settings else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        # argparse takes -5.1 as a number, but -1e3 and -inf as options that it does not know.
        self._negative_number_matcher = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{message[1:]}. Try --help.\n")


def positive_seconds(text: str) -> float:
    """Return the value of an option that is a time, for `type=`; argparse shows the message of the error."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and at most 3600")
    return value


def read_lines(prompt: str = PROMPT) -> Iterator[list[str]]:
    """Yield the words of each line typed, until `q`, the end of the input or Ctrl-C.

    The prompt is shown to a person only, not when the input is piped.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are not text are invalid input, not a crash
    person = sys.stdin.isatty()
    while True:
        try:
            line = input(prompt) if person else sys.stdin.readline()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not person and not line:
            return
        words = split_words(line)
        if words in (["q"], ["Q"]):
            return
        yield words


def say_ready(what: str) -> None:
    """Print that a program is at work, and how to end it: `Worker is ready. Ctrl-C ends it (process 4711).`"""
    print(f"{what}. Ctrl-C ends it (process {os.getpid()}).", flush=True)


def show(iris_type: IrisType) -> str:
    """Return the lines that a person sees: `setosa (setosa 97.9 %, versicolor 2.1 %, virginica 0.0 %)`."""
    name = iris_type.species or SPECIES[iris_type.iris_type]  # other programs may leave the name out
    chances = ", ".join(f"{species} {100 * p:.1f} %" for species, p in iris_type.probabilities.items())
    lines = [f"{name} ({chances})" if chances else name]
    lines += [f"  warning: {warning}" for warning in iris_type.warnings]
    return "\n".join(lines)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a program's main() and end the process: an expected failure is one line, Ctrl-C is quiet."""
    try:
        code = main()
        sys.stdout.flush()
    except ProgramError as error:
        print(error, file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130  # what a shell reports for Ctrl-C
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head -1`
        sys.stderr.close()
        code = 1
    sys.exit(code)

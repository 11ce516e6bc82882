"""CSV files: what spreadsheets write, read row by row, with an error that names row and field."""

import csv
import io
import re
from collections.abc import Iterator

from common.iris_dto import FEATURES, MAX_CM, Measurement, shorten
from common.web.problems import Problem, wrong_input

from .units import UNITS, check_unit, expected_number, to_measurement

MAX_ROWS = 10_000
NUMBER = re.compile(r"[-+.0-9eE]+")  # float() alone would take nan, inf and 1_0


def parse_csv(content: bytes, unit: str = "cm") -> list[Measurement]:
    """Return the measurements in a CSV file, in cm.

    The first row names the columns, in any order; columns that are not features are ignored. Without such a row the
    four values come in the order of FEATURES. Commas or semicolons between the values, decimals with a point.

    Raises:
        Problem: 422, naming row and field.
    """
    check_unit(unit)
    rows = _rows(content)
    number, first = next(rows, (0, []))
    if not number:
        raise wrong_input("file: there is no measurement in it.", field="file")
    names = [word.strip().lower().replace(" ", "_") for word in first]
    if set(FEATURES) <= set(names):
        columns = [names.index(name) for name in FEATURES]
        measurements = []
    elif any(NUMBER.fullmatch(word.strip()) for word in first):
        columns = list(range(len(FEATURES)))
        measurements = [_read_row(number, first, columns, unit)]
    else:
        raise wrong_input(
            f"row {number}: the columns are {shorten(', '.join(first), 60)!r}, expected {', '.join(FEATURES)}.",
            field="file",
        )
    for number, row in rows:
        if len(measurements) == MAX_ROWS:
            raise wrong_input(f"file: more than {MAX_ROWS} measurements.", field="file")
        measurements.append(_read_row(number, row, columns, unit))
    if not measurements:
        raise wrong_input("file: there is no measurement in it.", field="file")
    return measurements


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the words of each row that is not empty."""
    try:
        text = content.decode("utf-8-sig")  # spreadsheets write a mark at the beginning
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        for row in reader:
            if any(word.strip() for word in row):
                yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error):
        raise wrong_input("file: it is not a CSV file in UTF-8.", field="file") from None


def _read_row(number: int, row: list[str], columns: list[int], unit: str) -> Measurement:
    values = {}
    for name, column in zip(FEATURES, columns, strict=True):
        word = row[column].strip() if column < len(row) else ""
        value = _read_number(word)
        if not 0 < value <= MAX_CM / UNITS[unit]:
            found = f"{shorten(word)!r} is not" if word else "missing, expected"
            raise _row_problem(number, name, f"{found} {expected_number(unit)}")
        values[name] = value
    return to_measurement(values, unit)


def _read_number(word: str) -> float:
    """Return the number, or 0, which no measurement is."""
    try:
        return float(word) if NUMBER.fullmatch(word) else 0.0
    except ValueError:
        return 0.0


def _row_problem(number: int, name: str, reason: str) -> Problem:
    return wrong_input(f"row {number}: {name}: {reason}.", row=number, field=name)

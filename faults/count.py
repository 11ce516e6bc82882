"""What came of a trial: what was lost, doubled, wrong or late, in the topic and in the stores."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from common.kafka.topics import DEAD_LETTER

from .answers import is_right, right_answers
from .fault_worker import EXECUTION
from .outcome import longest_gap
from .traffic import TOO_LATE

if TYPE_CHECKING:
    from .trial import Trial

PLAIN = "plain "  # before the number of a result without an id


def count(trial: "Trial") -> None:
    """Fill in the outcome of a trial whose programs have ended."""
    _count_rows(trial)
    _count_results(trial)
    _count_answers(trial)
    _count_errors(trial)


def _count_rows(trial: "Trial") -> None:
    wanted = trial.answered() | {f"{PLAIN}{number}" for number in trial.load.plain}
    seen = trial.observer.plain
    if twice := seen.total() - len(seen):
        trial.outcome.also["without id, twice in Kafka"] = twice
    for store, rows in trial.rows().items():
        trial.lose(wanted - rows.keys(), f"without a row in {store}")
        doubled = rows - Counter(rows.keys()) - Counter({f"{PLAIN}{n}": c - 1 for n, c in seen.items()})
        trial.outcome.rows_doubled[store] = sum(n for key, n in doubled.items() if not key.startswith(PLAIN))
        trial.outcome.rows_doubled_without_id[store] = doubled.total() - trial.outcome.rows_doubled[store]


def _count_results(trial: "Trial") -> None:
    outcome, load, seen = trial.outcome, trial.load, trial.observer
    outcome.sent, outcome.results = load.messages.total(), len(trial.answered())
    outcome.without_id = len(load.plain)
    trial.lose(load.sent.keys() - trial.answered(), "without a result")
    outcome.results_doubled = sum(max(0, seen.count[i] - load.messages[i]) for i in load.sent)
    outcome.executed_again = executed_again(trial.executions)
    waits = [seen.first[i] - load.sent[i] for i in trial.answered()]
    outcome.longest_wait = round(max([outcome.longest_wait, *waits]), 2)
    if trial.struck_at:
        outcome.standstill = round(longest_gap(trial.struck_at, list(seen.first.values())), 2)
    for end in trial.ends:
        trial.recovered(max((seen.first[i] - end for i in trial.answered() if load.sent[i] <= end), default=0.0))


def _count_answers(trial: "Trial") -> None:
    outcome, load, seen = trial.outcome, trial.load, trial.observer
    errors = {i: code for i, code in seen.errors.items() if i in load.sent and i not in trial.expected_errors}
    late = {i for i, code in errors.items() if code == TOO_LATE and load.was_too_late(i, seen.first[i])}
    right = right_answers(load.rows.values())
    asked = {i: right[load.rows[i]] for i in load.rows.keys() - trial.expected_errors.keys()}
    answers = [*seen.answers.items(), *seen.other_answers]
    wrong = {i for i, answer in answers if i in asked and not is_right(answer, asked[i])}
    outcome.too_late = len(late)
    outcome.wrong_answers = len(wrong | (errors.keys() - late))
    if found := Counter(errors[i] for i in errors.keys() - late):
        outcome.problems.append(f"answered with an error: {dict(found)}")


def _count_errors(trial: "Trial") -> None:
    outcome, expected = trial.outcome, trial.expected_errors
    if missing := sum(trial.observer.errors.get(i) != code for i, code in expected.items()):
        outcome.problems.append(f"expected errors missing: {missing}")
    dead = trial.rig.topics.messages(DEAD_LETTER) - trial.dead_letters
    if dead < len(expected) or (dead > len(expected) and outcome.delivery == "exactly-once"):
        outcome.problems.append(f"{dead} dead letters instead of {len(expected)}")
    elif dead > len(expected):
        outcome.also["dead letters doubled"] = dead - len(expected)


def executed_again(path: Path) -> int:
    """Return how many executions there were beyond the first of each task message."""
    executed = Counter(EXECUTION.iter_unpack(path.read_bytes()))
    return executed.total() - len(executed)

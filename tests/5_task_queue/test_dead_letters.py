"""Dead letters: listed, shown safely, and replayed to where they came from."""

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Message

from common.kafka.topics import DEAD_LETTER, RESULTS, TASKS
from tests.helpers import Program, X, headers_of, messages, produce

MODULE = "5_task_queue.dead_letters"
HOSTILE = b"\xff\x00\x1b[31m\xe2\x80\xae\nnext"


def letter(topic: str = TASKS, reason: str = "Not JSON.", **own: str | bytes) -> dict[str, str | bytes | None]:
    """The headers of a dead letter."""
    told = {"topic": topic, "partition": "2", "offset": "17", "reason": reason, "time": "2026-11-21T08:00:00Z"}
    headers: dict[str, str | bytes | None] = {f"dead-letter-{name}": value for name, value in told.items()}
    return headers | {"dead-letter-attempts": "3"} | own


@pytest.fixture
def command(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
) -> Callable[..., tuple[int, str, str]]:
    """Run it on empty topics: `code, output, errors = command("list")`."""
    topics(partitions=1)

    def run(*arguments: object) -> tuple[int, str, str]:
        one = program(MODULE, *arguments, env=kafka_env, stdin="")
        return one.wait(), one.output, one.errors

    return run


def put(kafka_env: dict[str, str], value: bytes | None, key: bytes | None, headers: dict[str, str | bytes | None]):
    produce(kafka_env["KAFKA_BOOTSTRAP_SERVERS"], DEAD_LETTER, [value], [key], headers)


def test_no_dead_letters_are_an_empty_table(command: Callable[..., tuple[int, str, str]]):
    code, output, errors = command("list")
    assert (code, output.splitlines()[1:], errors) == (0, ["0 dead letters"], "")


def test_without_the_topic_the_table_is_empty_too(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    topics(create=False)
    one = program(MODULE, "list", env=kafka_env)
    assert (one.wait(), one.output.splitlines()[1:]) == (0, ["0 dead letters"])


def test_listed_and_shown_in_full_with_nothing_that_could_act_on_a_terminal(
    command: Callable[..., tuple[int, str, str]], kafka_env: dict[str, str]
):
    put(kafka_env, HOSTILE, b"\xffkey\x07", letter(reason="bad \x1b[2J " + "x" * 100, own=b"\x1b]0;title\x07"))
    put(kafka_env, None, None, {})
    code, output, errors = command("list")
    assert (code, errors) == (0, "")
    _, first, second, last = output.splitlines()
    assert first.split() == ["0", "2026-11-21T08:00:00Z", "tasks[2]@17", "3", "bad", "\\x1b[2J", "x" * 58 + "..."]
    assert second.split() == ["1", "-", "-[-]@-", "-", "-"]
    assert last == "2 dead letters"

    code, output, _ = command("show", 0)
    assert code == 0
    assert output.splitlines() == [
        "offset    0",
        "time      2026-11-21T08:00:00Z",
        "from      tasks[2]@17",
        "attempts  3",
        "reason    bad \\x1b[2J " + "x" * 100,
        "header    own: \\x1b]0;title\\x07",
        "key       \\xffkey\\x07",
        f"value     {len(HOSTILE)} bytes",
        "\\xff\\x00\\x1b[31m\\u202e\\nnext",
    ]
    code, output, _ = command("show", 1)
    assert (code, output.splitlines()[-2:]) == (0, ["key       none", "value     none"])


def test_only_the_newest_are_listed(command: Callable[..., tuple[int, str, str]], kafka_env: dict[str, str]):
    produce(kafka_env["KAFKA_BOOTSTRAP_SERVERS"], DEAD_LETTER, [b"x"] * 5, headers=letter())
    code, output, _ = command("list", "--limit", 2)
    lines = output.splitlines()
    assert (code, [line.split()[0] for line in lines[1:3]]) == (0, ["3", "4"])
    assert lines[-1] == "2 dead letters, and older ones from offset 0"


def test_replayed_with_key_and_own_headers_and_without_a_deadline_that_has_passed(
    command: Callable[..., tuple[int, str, str]], kafka_env: dict[str, str]
):
    servers = kafka_env["KAFKA_BOOTSTRAP_SERVERS"]
    late, early = str(int(time.time() * 1000) - 1), str(int(time.time() * 1000) + 600_000)
    put(kafka_env, HOSTILE, b"key", letter(trace="a", **{"deadline-ms": late}))
    put(kafka_env, b"", None, letter(**{"deadline-ms": early}))  # as of stage 4: no key
    put(kafka_env, b"not asked for", b"c", letter())
    code, output, errors = command("replay", 1, 0, 1)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "dead letter 1 is now tasks[0]@0",
        "dead letter 0 is now tasks[0]@1",
        "2 sent, 0 not sent",
    ]
    assert [shape(m) for m in messages(servers, TASKS, 2)] == [
        (b"", None, {"deadline-ms": early}),
        (HOSTILE, b"key", {"trace": "a"}),
    ]


def test_all_are_replayed_and_what_has_no_way_back_is_told(
    command: Callable[..., tuple[int, str, str]], kafka_env: dict[str, str]
):
    put(kafka_env, b"1", b"a", letter())
    put(kafka_env, b"2", b"a", letter(topic="gone"))
    put(kafka_env, b"3", b"a", {})
    put(kafka_env, None, b"a", letter(topic=RESULTS))
    code, output, errors = command("replay", "--all")
    assert (code, errors) == (1, "")
    assert sorted(output.splitlines()) == [
        "2 sent, 2 not sent",
        "dead letter 0 is now tasks[0]@0",
        "dead letter 1 came from gone, a topic that no longer exists: not sent",
        "dead letter 2 does not say where it came from: not sent",
        "dead letter 3 is now results[0]@0",
    ]


def test_an_offset_that_is_none_sends_nothing(command: Callable[..., tuple[int, str, str]], kafka_env: dict[str, str]):
    put(kafka_env, b"1", b"a", letter())
    code, output, errors = command("replay", 0, 7)
    assert (code, output) == (1, "")
    assert errors == "There is no dead letter 7. See which there are: python -m 5_task_queue.dead_letters list\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "The following arguments are required: command, OFFSET. Try --help."),
        (("bury",), "Argument command: invalid choice: 'bury' (choose from"),
        (("list", "1"), "List: expected no offsets. Try --help."),
        (("show",), "Show: expected one offset. Try --help."),
        (("show", "x"), "Argument OFFSET: invalid int value: 'x'. Try --help."),
        (("replay",), "Replay: expected offsets, or --all. Try --help."),
        (("replay", "1", "--all"), "Replay: expected offsets, or --all. Try --help."),
        (("list", "--limit", "0"), "--limit: 0 is not a number above 0. Try --help."),
    ],
)
def test_wrong_arguments_are_one_line(
    program: Callable[..., Program], env: dict[str, str], arguments: tuple[str, ...], error: str
):
    one = program(MODULE, *arguments, env=env)
    assert one.wait() == 2
    assert one.output == ""
    assert one.errors.startswith(error)
    assert one.errors.count("\n") == 1


def test_without_kafka_it_says_so_in_one_line(program: Callable[..., Program], env: dict[str, str]):
    one = program(MODULE, "list", env=env | {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    assert one.wait() == 1
    assert one.errors == "No Kafka answers at localhost:1. Start one with: python -m common.embedded_kafka\n"


def test_what_a_worker_buries_can_be_replayed_to_it(
    command: Callable[..., tuple[int, str, str]], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = kafka_env["KAFKA_BOOTSTRAP_SERVERS"]
    bad = str({"task_id": "t", "X": X | {"petal_width": -1}}).replace("'", '"').encode()
    produce(servers, TASKS, [bad], ["t"])
    worker = program("5_task_queue.iris_classifier_task_queue_worker", env=kafka_env)
    messages(servers, DEAD_LETTER, 1)
    assert command("replay", 0)[:2] == (0, "dead letter 0 is now tasks[0]@1\n1 sent, 0 not sent\n")
    again = messages(servers, DEAD_LETTER, 2)[1]
    assert (again.value(), again.key()) == (bad, b"t")
    assert headers_of(again)["dead-letter-offset"] == "1"
    worker.terminate()
    assert worker.wait() == 0


def shape(message: Message) -> tuple[bytes | None, bytes | None, dict[str, str]]:
    return message.value(), message.key(), headers_of(message)

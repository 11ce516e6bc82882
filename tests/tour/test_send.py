"""The exercises' sender fills the queue, and sends what is not a measurement."""

from collections.abc import Callable

import pytest

from common.iris_dto import Task, validate_json
from common.kafka.topics import TASKS
from tests.helpers import Program, messages

MODULE = "tour.send"
Topics = Callable[..., str]
Start = Callable[..., Program]


def test_it_sends_many_tasks_of_stage_5_each_with_an_id_of_its_own(
    topics: Topics, program: Start, kafka_env: dict[str, str]
) -> None:
    servers = topics(partitions=4)
    one = program(MODULE, "--count", 3000, env=kafka_env)
    assert one.wait() == 0
    assert one.output == "sent 3000 messages to tasks\n"
    found = messages(servers, TASKS, 3000)
    tasks = [Task.model_validate_json(message.value() or b"") for message in found]
    assert [task.task_id.encode() for task in tasks] == [message.key() for message in found]
    assert len({task.task_id for task in tasks}) == len(found) == 3000
    assert {message.partition() for message in found} == {0, 1, 2, 3}


def test_it_sends_measurements_without_an_id_as_stage_4_does(
    topics: Topics, program: Start, kafka_env: dict[str, str]
) -> None:
    servers = topics()
    assert program(MODULE, "--count", 20, "--stage", 4, env=kafka_env).wait() == 0
    found = messages(servers, TASKS, 20)
    assert len({validate_json(message.value()).model_dump_json() for message in found}) > 1
    assert {message.key() for message in found} == {None}


def test_it_sends_any_text(topics: Topics, program: Start, kafka_env: dict[str, str]) -> None:
    servers = topics()
    one = program(MODULE, "--raw", "not a measurement", env=kafka_env)
    assert one.wait() == 0
    assert one.output == "sent 1 message to tasks\n"
    assert [message.value() for message in messages(servers, TASKS, 1)] == [b"not a measurement"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--count", "0"], "--count: 0 is not a number from 1 to 10 000 000. Try --help."),
        (["--count", "2", "--raw", "x"], "Argument --raw: not allowed with argument --count. Try --help."),
    ],
)
def test_wrong_arguments_are_explained_in_one_line(arguments: list[str], line: str, program: Start) -> None:
    one = program(MODULE, *arguments)
    assert one.wait() == 2
    assert one.errors == line + "\n"

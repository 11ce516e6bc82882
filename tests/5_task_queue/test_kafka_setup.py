"""The topics of stage 5: made, grown, left alone, and told about."""

from collections.abc import Callable

import pytest

from common.kafka.topics import DEAD_LETTER, RESULTS, RETENTION_MS, TASKS, partition_count
from tests.helpers import WAIT_SECONDS, Program, admin_of

MODULE = "5_task_queue.kafka_setup"
Start = Callable[..., Program]


def test_it_creates_grows_leaves_alone_and_tells(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics(create=False)
    steps = [(3, "created", 3, "created"), (3, "unchanged", 3, "unchanged"), (5, "grown", 5, "unchanged")]
    steps.append((2, "unchanged", 5, "unchanged"))  # partitions are never taken away
    for partitions, what, number, dead_letter in steps:
        one = program(MODULE, "--partitions", partitions, env=kafka_env)
        assert one.wait() == 0
        assert one.errors == ""
        assert one.output.splitlines() == [
            f"tasks: {what}, {number} partitions",
            f"results: {what}, {number} partitions",
            f"tasks.dead-letter: {dead_letter}, 1 partition",
            f"tasks.cancelled: {dead_letter}, 1 partition",
            f"tasks.events: {dead_letter}, 1 partition",
        ]
    admin = admin_of(servers)
    assert [partition_count(admin, topic) for topic in (TASKS, RESULTS, DEAD_LETTER)] == [5, 5, 1]


def test_topics_of_stage_4_are_grown(topics, program: Start, kafka_env: dict[str, str]):
    topics(partitions=1)
    one = program(MODULE, env=kafka_env)
    assert one.wait() == 0
    assert one.output.splitlines()[:2] == ["tasks: grown, 4 partitions", "results: grown, 4 partitions"]


def test_messages_are_kept_as_long_as_the_design_says(topics):
    from confluent_kafka.admin import ConfigResource, ResourceType  # pyright: ignore[reportPrivateImportUsage]

    admin = admin_of(topics())
    for topic, milliseconds in RETENTION_MS.items():
        resource = ConfigResource(ResourceType.TOPIC, topic)
        settings = admin.describe_configs([resource])[resource].result(WAIT_SECONDS)
        assert settings["retention.ms"].value == str(milliseconds)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--partitions", "0"], "--partitions: 0 is not a number from 1 to 1000. Try --help."),
        (["--partitions", "-1"], "--partitions: -1 is not a number from 1 to 1000. Try --help."),
        (["--partitions", "two"], "Argument --partitions: invalid int value: 'two'. Try --help."),
        (["4"], "Unrecognized arguments: 4. Try --help."),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    from importlib import import_module

    with pytest.raises(SystemExit) as end:
        import_module(MODULE).main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr() == ("", line + "\n")

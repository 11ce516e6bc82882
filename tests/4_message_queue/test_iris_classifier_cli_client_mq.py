"""Stage 4's client: it publishes and goes on, and sees every result, whoever asked."""

from collections.abc import Callable

from common.iris_dto import EXPECTED
from common.kafka.topics import RESULTS, TASKS
from common.terminal import PROMPT
from tests.helpers import CTRL_C, LINE, STOP_SECONDS, VIRGINICA, Program, X, count, messages, produce

WORKER = "4_message_queue.iris_classifier_mq_worker"
CLIENT = "4_message_queue.iris_classifier_cli_client_mq"
Start = Callable[..., Program]


def test_every_client_sees_all_results(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics()
    produce(servers, RESULTS, [b'{"X": {"from": "before"}, "y": {"iris_type": 0}}'])
    watcher = program(CLIENT, env=kafka_env, terminal=True)
    watcher.wait_for(PROMPT)
    asker = program(CLIENT, env=kafka_env)
    asker.send_line(LINE)
    asker.wait_for_line("sent")
    program(WORKER, env=kafka_env)
    asker.send_line(VIRGINICA)
    for one in (asker, watcher):
        assert "setosa (setosa 98.1 %" in one.wait_for_line("result for ")
        assert "virginica (" in one.wait_for_line("result for ")

    # Of another program's result only `iris_type` is required; what is no result is not shown.
    produce(
        servers, RESULTS, [b"\xff", None, b"[]", b'{"y": {"iris_type": 3}}', b'{"task_id": "t", "y": {"iris_type": 2}}']
    )
    for one in (asker, watcher):
        assert one.wait_for_line("result for ") == "result for None: virginica"
        assert "from" not in one.output
    watcher.send(CTRL_C)
    assert watcher.wait(STOP_SECONDS) == 0
    asker.end_input()
    assert asker.wait() == 0
    assert asker.errors == ""
    assert "> " not in asker.output


def test_tasks_are_sent_while_no_worker_runs_and_wrong_input_is_not(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics(create=False)  # the client makes them
    lines = [LINE, "5.1 3.5 1.4 -0.2", "5.1 nan 1.4 0.2", "", "x" * 1_000_000, VIRGINICA]
    one = program(CLIENT, "--wait", "0.2", env=kafka_env, stdin="\n".join(lines))
    assert one.wait() == 0
    assert one.output.splitlines() == [
        "sent",
        f"petal_width: -0.2 is not {EXPECTED}.",
        f"sepal_width: 'nan' is not {EXPECTED}.",
        "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 0.",
        "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 1.",
        "sent",
    ]
    assert one.errors == ""
    first, second = messages(servers, TASKS, 2)
    assert (first.value() or b"").decode() == str(X).replace("'", '"').replace(" ", "")
    assert b"6.3" in (second.value() or b"")
    assert count(servers, TASKS) == 2


def test_wrong_arguments_are_one_line(program: Start):
    one = program(CLIENT, "--wait", "long")
    assert one.wait() == 2
    assert one.errors == "Argument --wait: invalid float value: 'long'. Try --help.\n"

"""The same flowers, all 150 of Fisher's among them, through all six stages: the same species from each."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from common.iris_dto import SPECIES
from common.iris_model import load_data, load_model
from common.programs import url_of_server
from tests.helpers import Program

OTHERS = [[0.1, 0.1, 0.1, 0.1], [100, 100, 100, 100], [5.1, 3.5, 100, 0.001], [6.1, 2.8, 4.85, 1.65]]  # cm
SAMPLES: list[list[float]] = [*load_data()[0].tolist(), *OTHERS]
LINES = [" ".join(str(value) for value in row) for row in SAMPLES]
INPUT = "\n".join(LINES) + "\n"
Start = Callable[..., Program]


@pytest.fixture(scope="module")
def expected(model_path: Path) -> list[str]:
    """Stage 0: what the notebook does, with scikit-learn's own pipeline."""
    species = load_model(model_path).pipeline().predict(np.array(SAMPLES))
    return [SPECIES[number] for number in species]


def species_of(output: str) -> list[str]:
    """Return the first word of each answer; warnings are indented."""
    return [line.split()[0] for line in output.splitlines() if not line.startswith(" ")]


def test_stage_0_knows_most_flowers(expected: list[str]):
    truth = [SPECIES[number] for number in load_data()[1]]
    assert sum(map(str.__eq__, expected, truth)) >= 140


def test_stage_1(expected: list[str], model_path: Path, program: Start, monkeypatch, capsys):
    processes = {i: program("1_monolith_cli.iris_classifier_monolith_cli_app", *LINES[i].split()) for i in (0, 75, 149)}
    monkeypatch.setenv("IRIS_MODEL_PATH", str(model_path))
    main = import_module("1_monolith_cli.iris_classifier_monolith_cli_app").main
    for line in LINES:
        assert main(line.split()) == 0
    assert species_of(capsys.readouterr().out) == expected
    for i, one in processes.items():
        assert one.wait() == 0
        assert species_of(one.output) == [expected[i]]


def test_stage_2(expected: list[str], program: Start):
    one = program("2_monolith_user_input_loop.iris_classifier_monolith_user_input_loop_app", stdin=INPUT)
    assert one.wait() == 0
    assert species_of(one.output) == expected


def test_stage_3(expected: list[str], program: Start):
    server = program("uvicorn", "3_client_server.iris_classifier_rest_server:app", "--port", 0)
    url = url_of_server(server)
    one = program("3_client_server.iris_classifier_cli_client_rest", "--url", url, stdin=INPUT)
    assert one.wait() == 0
    assert species_of(one.output) == expected


def test_stage_4(expected: list[str], topics, program: Start, kafka_env: dict[str, str]):
    topics()
    program("4_message_queue.iris_classifier_mq_worker", env=kafka_env)
    one = program("4_message_queue.iris_classifier_cli_client_mq", "--wait", 30, env=kafka_env, stdin=INPUT)
    assert one.wait() == 0
    results = [line.removeprefix("result for ") for line in one.output.splitlines() if line.startswith("result for ")]
    halves = [line.partition("}: ") for line in results]
    pairs = [(list(ast.literal_eval(X + "}").values()), answer.split()[0]) for X, _, answer in halves]
    assert pairs == list(zip(SAMPLES, expected, strict=True))


def test_stage_5(expected: list[str], topics, program: Start, kafka_env: dict[str, str]):
    topics(partitions=2)
    for _ in range(2):
        program("5_task_queue.iris_classifier_task_queue_worker", env=kafka_env)
    parts = [slice(start, start + 40) for start in range(0, len(LINES), 40)]  # four clients at once
    client = "5_task_queue.iris_classifier_cli_client_task_queue"
    clients = [program(client, env=kafka_env, stdin="\n".join(LINES[part])) for part in parts]
    for one, part in zip(clients, parts, strict=True):
        assert one.wait(120) == 0
        assert species_of(one.output) == expected[part]

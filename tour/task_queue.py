"""Stage 5 of the walk: several clients send to several workers at the same time."""

import random
import re
from collections import Counter

from common.iris_dto import validate
from common.iris_model import load_model, predict_many
from common.programs import Program, until
from common.terminal import show

from .walk import FLOWER, Walk, as_typed, expect, expect_flower, stop

PARTITIONS, WORKERS, CLIENTS, TASKS_EACH = 6, 3, 4, 25
SETUP = f"python -m 5_task_queue.kafka_setup --partitions {PARTITIONS}"
WORKER = "python -m 5_task_queue.iris_classifier_task_queue_worker"
SLOW_WORKER = (
    f"IRIS_SIMULATED_CPU_SECONDS=0.02 {WORKER}"  # as quick as it is, one worker would do all before others wake
)
CLIENT = "python -m 5_task_queue.iris_classifier_cli_client_task_queue"
RANGES_CM = ((4.4, 7.7), (2.2, 4.2), (1.1, 6.7), (0.2, 2.5))  # the training data's: no warnings

Counts = Counter[tuple[int, int]]  # (worker, partition): tasks


def stage_5(walk: Walk) -> None:
    """One task, then many from several clients, and who has done how many."""
    screen = walk.screen
    changes = "many workers share the tasks, and an id joins each result to its task"
    with screen.part("Stage 5, a task queue", changes):
        walk.run(SETUP)
        screen.note(f"{WORKERS} workers, each in a terminal of its own (here each task takes 20 ms of CPU time):")
        screen.command(SLOW_WORKER)
        workers = [walk.start(SLOW_WORKER, show=False) for _ in range(WORKERS)]
        with screen.doing("the workers start and share the partitions"):
            held = wait_for_partitions(workers)
        screen.output(f"worker {worker} holds partitions {numbers}" for worker, numbers in held)
        lines = walk.run(CLIENT, [FLOWER])
        expect_flower(lines, "The task queue's client")
        before = wait_for_counts(workers, 1)  # what stage 4 has left in the topic is skipped and not counted

        screen.note(f"{CLIENTS} clients at the same time, with {TASKS_EACH} flowers each:")
        screen.command(CLIENT)
        with screen.doing("clients and workers at work"):
            ask_all_at_once(walk)
            counts = wait_for_counts(workers, 1 + CLIENTS * TASKS_EACH) - before
        screen.note(f"Each client got its own {TASKS_EACH} results in its own order, and they are what the model says.")
        show_counts(walk, counts)
        with screen.doing("the workers end"):
            for worker in workers:
                stop(worker)
        screen.limit(
            f"Workers beyond the {PARTITIONS} partitions would have nothing to do, and somebody has to start workers."
        )


def wait_for_partitions(workers: list[Program]) -> list[tuple[int, str]]:
    """Wait until the workers hold all partitions, each some of them; return each worker's number and partitions."""
    pattern = r"^worker (\d+) holds partitions ([\d, ]+)$"

    def held() -> list[tuple[int, str]]:
        newest = [([line for line in worker.lines if " holds " in line] or [""])[-1] for worker in workers]
        found = [re.match(pattern, line) for line in newest]
        return [(int(match[1]), match[2]) for match in found if match]

    def complete() -> bool:
        numbers = [number for _, text in held() for number in text.split(", ")]
        return len(held()) == WORKERS and sorted(map(int, numbers)) == list(range(PARTITIONS))

    until(complete, what="the workers share all partitions", programs=workers)
    return sorted(held())


def ask_all_at_once(walk: Walk) -> None:
    """Let all clients send at the same time, and check that each gets the answers to its own flowers."""
    model = load_model()
    clients = [walk.start(CLIENT, show=False) for _ in range(CLIENTS)]
    flowers = [make_flowers(seed) for seed in range(CLIENTS)]
    for client, lines in zip(clients, flowers, strict=True):
        client.send_line(lines[0])  # its answer tells that the client has started
    for client in clients:
        client.wait_for_line("")
    for client, lines in zip(clients, flowers, strict=True):
        client.send(as_typed(lines[1:]).encode())
        client.end_input()
    for number, (client, lines) in enumerate(zip(clients, flowers, strict=True), 1):
        answers = client.finish()
        own = [show(y) for y in predict_many(model, [validate(line.split()) for line in lines])]
        wrong = [
            f"{line}: {answer}" for line, answer, right in zip(lines, answers, own, strict=False) if answer != right
        ]
        expect(len(answers) == len(own), f"Client {number} got {len(answers)} answers to {len(own)} tasks.")
        expect(not wrong, f"Client {number} got an answer that is not its own, for {wrong[:1]}")
    began, ended = max(client.times[1] for client in clients), min(client.times[-1] for client in clients)
    expect(began < ended, "The clients did not send at the same time.")


def make_flowers(seed: int) -> list[str]:
    """Return made-up flowers; each client has others."""
    chance = random.Random(seed)
    return [" ".join(f"{chance.uniform(*cm):.1f}" for cm in RANGES_CM) for _ in range(TASKS_EACH)]


def read_counts(workers: list[Program]) -> Counts:
    """Add up what the workers have printed: `worker 1 did 7 of partition 0, 9 of partition 3; 16 in all`."""
    counts: Counts = Counter()
    for line in [line for worker in workers for line in worker.lines]:
        if match := re.match(r"worker (\d+) did (.+); \d+ in all$", line):
            for count, partition in re.findall(r"(\d+) of partition (\d+)", match[2]):
                counts[int(match[1]), int(partition)] += int(count)
    return counts


def wait_for_counts(workers: list[Program], expected: int) -> Counts:
    """Wait until the workers have told of this many tasks."""
    until(lambda: read_counts(workers).total() >= expected, what=f"all {expected} tasks are counted", programs=workers)
    counts = read_counts(workers)
    expect(counts.total() == expected, f"The workers did {counts.total()} tasks instead of {expected}.")
    return counts


def show_counts(walk: Walk, counts: Counts) -> None:
    """Show which worker and which partition handled how many."""
    workers = sorted({worker for worker, _ in counts})
    partitions = range(PARTITIONS)
    rows = [
        [f"worker {w}", *(counts[w, p] or "" for p in partitions), sum(counts[w, p] for p in partitions)]
        for w in workers
    ]
    sums = [sum(counts[w, p] for w in workers) for p in partitions]
    walk.screen.table(
        ["tasks of partition", *map(str, partitions), "all"],
        [*rows, ["all", *sums, sum(sums)]],
        footer=True,
    )
    expect(len(workers) == WORKERS, f"Only {len(workers)} of {WORKERS} workers have worked.")
    expect(all(sums), f"Not every partition had tasks: {sums}")

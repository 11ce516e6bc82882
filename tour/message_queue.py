"""Stage 4 of the walk: a queue between client and worker."""

import re

from .walk import FLOWER, SPECIES, Walk, as_typed, expect, expect_flower, stop

WORKER = "python -m 4_message_queue.iris_classifier_mq_worker"
PERSISTER = "python -m 4_message_queue.iris_classifier_mq_persister"
CLIENT = "python -m 4_message_queue.iris_classifier_cli_client_mq"
FLOWERS = (FLOWER, "6.7 3.0 5.2 2.3", "6.0 2.7 4.2 1.3")
THEIR_SPECIES = (SPECIES, "virginica", "versicolor")
WAIT_SECONDS = 40  # how long the client waits for results


def stage_4(walk: Walk) -> None:
    """Send tasks with a worker and without, and see that every result arrives and is stored."""
    screen = walk.screen
    with screen.part("Stage 4, a message queue", "client and worker no longer meet: tasks and results wait in topics"):
        persister = walk.start(PERSISTER)
        worker = walk.start(WORKER)
        with screen.doing("worker and persister start"):
            worker.wait_for("Worker is ready")
            persister.wait_for("Persister is ready")
        lines = walk.run(f"{CLIENT} --wait {WAIT_SECONDS}", [FLOWER])
        expect_flower([line.partition("}: ")[2] for line in lines if line.startswith("result")], "The queue's client")

        screen.note("The worker is stopped, and three flowers are sent all the same:")
        with screen.doing("the worker ends"):
            stop(worker)
        command = f"{CLIENT} --wait {WAIT_SECONDS}"
        screen.command(command, *FLOWERS)
        with screen.doing("sending"):
            client = walk.start(command, show=False, input=as_typed(FLOWERS))
            sent = [client.wait_for_line(re.compile("^sent$")) for _ in FLOWERS]
        screen.output(sent)
        screen.note("They wait in the topic. The worker is started again, and does the tasks that have waited:")
        worker = walk.start(WORKER)
        with screen.doing("waiting for the results"):
            lines = [line for line in client.finish() if line.startswith("result")]
        screen.output(lines)
        species = [next((name for name in THEIR_SPECIES if f": {name} (" in line), "?") for line in lines]
        expect(species == list(THEIR_SPECIES), f"Expected the results {THEIR_SPECIES}, got {lines or 'none'}")

        with screen.doing("waiting for the persister"):
            persister.wait_for(re.compile(rf"stored .*, {1 + len(FLOWERS)} in all"))
        stored = walk.run(f"{PERSISTER} --list")
        expect(stored[-1].startswith(f"{1 + len(FLOWERS)} results"), f"Expected 4 stored results, got: {stored[-1]}")
        with screen.doing("worker and persister end"):
            stop(worker)
            stop(persister)
        screen.limit("One worker at a time; no result says whose it is; a task done twice is stored twice.")

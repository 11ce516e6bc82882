"""Stage 3 of the walk: a server, many clients."""

from common.programs import url_of_server

from .walk import FLOWER, Walk, as_typed, expect, expect_flower, stop

SERVER = "uvicorn 3_client_server.iris_classifier_rest_server:app"
CLIENT = "python -m 3_client_server.iris_classifier_cli_client_rest"
LESSON = "python -m 3_client_server.concurrency_limit_demo"


def stage_3(walk: Walk) -> None:
    """Ask the server, then ask a server that is full."""
    screen = walk.screen
    with screen.part("Stage 3, client and server", "the model runs in a process of its own, and many clients share it"):
        screen.command(SERVER)
        with screen.doing("the server starts"):
            server = walk.start(SERVER, show=False, more="--port 0 --timeout-graceful-shutdown 2")  # 0: any free port
            url = url_of_server(server)
        screen.note(f"The server listens at {url}.")
        screen.command(CLIENT, FLOWER)
        with screen.doing("waiting for the answer"):
            lines = walk.start(CLIENT, show=False, more=f"--url {url}", input=as_typed([FLOWER])).finish()
        screen.output(lines)
        expect_flower(lines, "The client of the server")
        stop(server)
        screen.note("Now a server that takes one request at a time, with a model that takes 2 s:")
        lines = walk.run(LESSON)
        answers = [line.partition(" got: ")[2] for line in lines if " got: " in line]
        expect_flower(answers[:1], "The first client of a full server")
        expect(
            any(answer.startswith("503 Service Unavailable") for answer in answers[1:]),
            f"The second client of a full server: expected a 503, got: {' / '.join(answers[1:]) or 'nothing'}",
        )
        screen.limit("A full server answers 503, and a crash loses the requests in flight.")

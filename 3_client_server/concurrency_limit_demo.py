"""Stage 3, the lesson: a full server answers 503 Service Unavailable, at once, instead of making the caller wait.

Unlike two people at two terminals, who would have to be quick:
- the server burns 2 s of CPU time per prediction, so that the first request is still in flight when the second comes;
- the second client asks when the server says that it is predicting for the first: it never comes too early or too late.

Run: python -m 3_client_server.concurrency_limit_demo
"""

import os
import signal

from common.errors import ProgramError
from common.iris_dto import SPECIES
from common.programs import Program, end_all, url_of_server
from common.terminal import ArgumentParser, run

SERVER = "uvicorn 3_client_server.iris_classifier_rest_server:app --limit-concurrency 2 --log-level debug"
CLIENT = "python -m 3_client_server.iris_classifier_cli_client_rest"
LINES = ("5.1 3.5 1.4 0.2", "6.7 3.0 5.2 2.3")  # what each client asks
CPU_SECONDS = 2.0  # that a prediction takes
FOREIGN = ("UVICORN_", "WEB_CONCURRENCY")  # settings that would change the server
END_SECONDS = 1.0  # from SIGTERM to SIGKILL, of a server in the middle of a prediction
FULL = "503 Service Unavailable"
WHY = """\
Why: uvicorn counts open connections, idle ones and the caller's own included, and answers 503 as soon as the count
reaches the limit. The first client's connection made one, the second's made two, and two is the limit. So
--limit-concurrency 2 lets one request in at a time. The client that got the 503 has to ask again by itself."""


def show_lesson(programs: list[Program]) -> list[str]:
    """Start the server and two clients; return what each client has printed."""
    print(f"$ IRIS_SIMULATED_CPU_SECONDS={CPU_SECONDS:g} {SERVER}", flush=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    env |= {"IRIS_SIMULATED_CPU_SECONDS": str(CPU_SECONDS), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    server = Program(f"python -m {SERVER} --port 0", name="server", env=env)  # 0: any free port
    programs.append(server)
    env["IRIS_REST_URL"] = url_of_server(server)
    clients = [Program(CLIENT, env=env) for _ in LINES]
    programs += clients  # neither has a connection before it asks
    for number, (client, line) in enumerate(zip(clients, LINES, strict=True), 1):
        print(f"client {number}$ {CLIENT}\n{line}", flush=True)
        client.send_line(line)
        if number == 1:
            server.wait_for("Predicting")
            print("the server is predicting for client 1, and now client 2 asks:", flush=True)
    answers = [client.wait_for_line("") for client in clients]
    for number, answer in enumerate(answers, 1):
        print(f"client {number} got: {answer}", flush=True)
    return answers


def main(argv: list[str] | None = None) -> int:
    """Let two clients ask at once, show what each gets and say why."""
    ArgumentParser(__doc__, "model_path").parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: ends what has been started
    programs: list[Program] = []
    try:
        answers = show_lesson(programs)
    finally:
        end_all(programs, END_SECONDS)
    if not (answers[0].startswith(SPECIES) and answers[1].startswith(FULL)):
        raise ProgramError("This should have been one iris type and one 503.")
    print(WHY)
    return 0


if __name__ == "__main__":
    run(main)

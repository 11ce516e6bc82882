"""Other programs: start them, read what they print, type into them, wait with a deadline, and end them without fail.

    with Program("python -m 5_task_queue.iris_classifier_task_queue_worker") as worker:
        worker.wait_for("is ready")
        ...

Why not a library: pexpect talks through a terminal only, where output and error output are one; it reads only while
somebody waits, so a talkative program comes to a halt; and it forks this process, which is unsafe beside threads, of
which Kafka's client has some. So this stands on Python's own `subprocess`, with a thread per pipe. psutil knows the
rest that the system tells about a process (memory, processor time, children): `Program.ps`.
"""

from .ports import answers, free_ports, url_of_server
from .process import ProgramFailed, end_all, until
from .program import CTRL_C, CTRL_D, Program

__all__ = [
    "CTRL_C",
    "CTRL_D",
    "Program",
    "ProgramFailed",
    "answers",
    "end_all",
    "free_ports",
    "until",
    "url_of_server",
]

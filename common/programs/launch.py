"""Runs first in the process of a program, then becomes that program: `python -IS launch.py PARENT TERMINAL command`.

PARENT is a process id: on Linux the kernel kills the program when the thread that started it ends, so that it never
outlives its parent, not even one that was killed. 0: it may outlive it.
TERMINAL is 1 if it is typed at: keys such as Ctrl-C are signals only on the terminal that a program controls.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Prepare this process, and become the program."""
    parent, terminal, command = int(sys.argv[1]), sys.argv[2] == "1", sys.argv[3:]
    if terminal:
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if parent:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return 1  # it had ended before we could ask
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, other programs must not
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main())

"""Starting, watching, typing into and ending programs: real ones, small, in Python or for a shell."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from common.errors import ProgramError
from common.programs import CTRL_C, CTRL_D, Program, ProgramFailed, end_all, until
from common.settings import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and terminals")
DEAF = "trap '' TERM; echo deaf; while true; do sleep 0.1; done"


def python(code: str) -> list[str]:
    return ["python", "-u", "-c", code]


def test_what_a_program_prints_is_kept_apart_by_where_it_goes():
    with Program(["bash", "-c", "echo out; echo err >&2"]) as program:
        assert program.finish() == ["out"]
    assert (program.output, program.errors, program.exit_code) == ("out\n", "err\n", 0)
    assert len(program.times) == 1


def test_a_command_may_be_one_text_and_python_is_the_one_that_runs_this():
    with Program('python -c "import sys; print(sys.executable)"') as program:
        assert program.finish() == [sys.executable]
    with Program("python -m http.server --help") as program:
        assert program.name == "http.server --help"


def test_it_runs_at_the_root_with_the_variables_that_it_gets():
    with Program(["bash", "-c", "pwd; echo $FLOWER"], env=os.environ | {"FLOWER": "iris"}) as program:
        assert program.finish() == [str(ROOT), "iris"]


def test_each_wait_goes_on_where_the_last_one_found_something():
    with Program(python("print('one 1'); print('one 2'); input('more? '); print('bye')")) as program:
        assert program.wait_for("one")[0] == "one"
        assert program.wait_for(re.compile(r"one (\d)"))[1] == "2"
        assert program.wait_for("more? ")
        program.send_line("")
        assert program.wait_for_line("b") == "bye"


def test_a_line_is_whole_before_it_is_found():
    with Program(python("print('half', end=''); input(); print(' and half')")) as program:
        program.wait_for("half")
        assert program.lines == []
        program.send_line("")
        assert program.wait_for_line("and") == "and half"
    assert program.lines == ["half and half"]


def test_a_character_that_comes_in_two_pieces_is_one():
    code = "import os, time; os.write(1, b'\\xc3'); time.sleep(0.1); os.write(1, b'\\xa4\\r\\n')"
    with Program(python(code)) as program:
        assert program.finish() == ["ä"]


def test_a_program_that_ends_without_it_fails_at_once_and_says_what_it_printed():
    with Program(["bash", "-c", "echo early; echo no model >&2; exit 3"], name="worker") as program:
        with pytest.raises(ProgramFailed) as failure:
            program.wait_for("is ready")
        program.wait()
        assert isinstance(failure.value, ProgramError)
        assert str(failure.value).startswith("worker: ended without 'is ready'")
        message = str(program.failure("ended without 'is ready'"))
    assert message == "worker: ended without 'is ready' (exit code 3). Its last output:\n    early\n    no model"


def test_a_program_that_says_nothing_in_time_fails():
    with (
        Program("sleep 60", name="sleeper") as program,
        pytest.raises(ProgramFailed, match=r"^sleeper: did not print 'ready' within 0.1 s. Its last output: nothing$"),
    ):
        program.wait_for("ready", seconds=0.1)
    assert program.exit_code == -signal.SIGTERM


def test_finish_fails_where_the_exit_code_is_not_0():
    with (
        Program(["bash", "-c", "cat; exit 1"], input="last words\n") as program,
        pytest.raises(ProgramFailed, match=r"failed \(exit code 1\)\. Its last output: last words"),
    ):
        program.finish()


def test_input_that_is_larger_than_a_pipe_holds_is_typed_without_waiting():
    with Program("wc -c", input=b"x" * 1_000_000) as program:
        assert program.finish() == ["1000000"]


def test_typing_into_a_program_that_has_ended_is_no_error():
    with Program("true") as program:
        program.wait()
        program.send_line("anybody?")
    with Program("true", terminal=True) as program:
        program.wait()
        program.send_line("anybody?")


def test_ctrl_c_at_a_terminal_reaches_the_program():
    code = "import sys\ntry: input('name? ')\nexcept KeyboardInterrupt: print(sys.stdin.isatty(), 'interrupted')"
    with Program(python(code), terminal=True) as program:
        program.wait_for("name? ")
        program.send(CTRL_C)
        assert program.wait() == 0
        assert program.lines[-1].endswith("True interrupted")


def test_ctrl_d_at_a_terminal_ends_the_input():
    with Program("cat", terminal=True) as program:
        program.send_line("typed")
        program.wait_for("typed\ntyped\n")  # once by the terminal's echo
        program.send(CTRL_D)
        assert program.wait() == 0


def test_a_log_has_both_outputs_and_is_read_as_a_pipe_would_be(tmp_path: Path):
    with Program(["bash", "-c", "echo out; echo err >&2; ! read"], log=tmp_path / "log") as program:
        program.wait_for("err")
        with pytest.raises(ProgramFailed, match="ended without 'more'"):
            program.wait_for("more")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "out\nerr\n"
    assert (program.lines, program.exit_code) == (["out", "err"], 0)


def test_what_cannot_be_started_says_so():
    with pytest.raises(FileNotFoundError):
        Program("no-such-program")
    with Program("no-such-program", terminal=True) as program:
        assert program.wait() == 127
        assert program.lines == ["no-such-program: No such file or directory"]


def test_a_program_that_minds_no_sigterm_is_killed_with_all_that_it_started():
    with Program(["bash", "-c", f"sleep 60 & {DEAF}"]) as program:
        program.wait_for("deaf")
        assert len(program.survivors()) >= 2
        assert program.end(seconds=0.2) == -signal.SIGKILL
        until(lambda: not program.survivors())


def test_what_a_program_leaves_behind_is_ended_with_it():
    with Program(["bash", "-c", "sleep 60 & echo left"]) as program:
        program.wait_for("left")
        program.process.wait(10)
        until(lambda: program.survivors() == ["sleep 60"])
    until(lambda: not program.survivors())


def test_programs_end_at_the_same_time():
    programs = [Program(["bash", "-c", DEAF]) for _ in range(3)]
    for program in programs:
        program.wait_for("deaf")
    began = time.monotonic()
    end_all(programs, seconds=0.5)
    assert time.monotonic() - began < 1.4
    assert {program.exit_code for program in programs} == {-signal.SIGKILL}


def test_a_paused_program_is_frozen_goes_on_and_can_be_ended():
    with Program("sleep 60") as program:
        program.pause()
        until(lambda: program.ps.status() == psutil.STATUS_STOPPED)
        program.resume()
        until(lambda: program.ps.status() != psutil.STATUS_STOPPED)
        program.pause()
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert program.exit_code == -signal.SIGTERM


def test_kill_ends_the_program_alone_and_a_signal_may_go_to_its_group():
    with Program(["bash", "-c", "sleep 60 & echo started; wait"]) as program:
        program.wait_for("started")
        program.kill()
        assert program.exit_code == -signal.SIGKILL
        until(lambda: program.survivors() == ["sleep 60"])
        program.signal(signal.SIGTERM, group=True)
        until(lambda: not program.survivors())


def test_until_returns_the_first_true_value_and_watches_the_programs():
    values = iter([0, "", "found"])
    assert until(lambda: next(values)) == "found"
    with pytest.raises(ProgramFailed, match=r"^Not within 0\.1 s: a miracle\.$"):
        until(lambda: False, seconds=0.1, what="a miracle")
    with (
        Program(["bash", "-c", "echo bye; exit 2"], name="server") as program,
        pytest.raises(ProgramFailed, match=r"^server: ended by itself \(exit code 2\)\."),
    ):
        until(lambda: False, programs=[program])


def parent_of(program: str) -> list[str]:
    """A program that starts another one, says which, and waits."""
    return python(f"from common.programs import Program\np = {program}\nprint(p.pid)\ninput()")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_program_that_dies_with_us_does_even_if_we_are_killed():
    with Program(parent_of("Program('sleep 60', dies_with_us=True)")) as parent:
        child = psutil.Process(int(parent.wait_for_line(re.compile(r"^\d+$"))))
        until(lambda: child.name() == "sleep")
        parent.kill()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, seconds=5)


def test_a_program_that_is_released_goes_on_after_us(tmp_path: Path):
    log = tmp_path / "log"
    start = f"Program('sleep 60', log=__import__('pathlib').Path({str(log)!r})); p.release()"
    with Program(parent_of(start), input="\n") as parent:
        child = psutil.Process(int(parent.wait_for_line(re.compile(r"^\d+$"))))
        assert parent.wait() == 0
        assert parent.errors == ""
    assert child.status() != psutil.STATUS_ZOMBIE
    child.kill()

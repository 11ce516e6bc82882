"""The runner of the READMEs runs what they say, and fails wherever a document is wrong."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytest.importorskip("termios", reason="the READMEs' commands are run in Unix terminals")
from tests import readme_runner
from tests.readme_blocks import ReadmeError, shows
from tests.readme_runner import run_document
from tests.repository_copy import copy_repository

Readme = Callable[..., list[str]]

# Stays until Ctrl-C, as a worker does.
WORKER = """exec python -c '
import os, pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
pathlib.Path("worker.pid").write_text(str(os.getpid()))
print("working")
signal.sigwait([signal.SIGINT])
print("bye")'"""
CHATTY = """python -c '
while (line := input("> ")) != "q":
    print("you said", line)
'"""


def fence(info: str, text: str = "") -> str:
    return f"```{info}\n{text}\n```\n"


@pytest.fixture
def readme(tmp_path: Path) -> Readme:
    """Run a document made of these blocks."""

    def run(*blocks: str) -> list[str]:
        (tmp_path / "README.md").write_text("# Title\n\n" + "\nSome prose.\n\n".join(blocks), encoding="utf-8")
        return run_document(tmp_path, "README.md")

    return run


def is_running(pid_file: Path) -> bool:
    try:
        return psutil.Process(int(pid_file.read_text(encoding="utf-8"))).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("expected", "output", "matches"),
    [
        ("two", "one\ntwo\nthree", True),
        ("one\ntwo", "zero\none  \ntwo\n", True),
        ("tw", "one\ntwo", False),
        ("one\nthree", "one\ntwo\nthree", False),
        ("one\n...\nthree", "one\ntwo\n2.5\nthree", True),
        ("took ... s", "took 1.25 s", True),
        ("took ... s", "took 1.25 ms", False),
        ("b...\na...", "a1\nb1\n", False),
    ],
)
def test_a_text_block_is_a_run_of_lines_with_ellipses(expected: str, output: str, matches: bool):
    assert shows(output, expected) is matches


def test_what_a_block_prints_is_what_the_document_shows(readme: Readme):
    colours = r"printf '\033[1;32mgreen\033[0m\n 10%%\r100%%\n'; echo err >&2"
    assert readme(fence("bash", colours), fence("text", "green\n100%\nerr"), fence("powershell", "exit 1")) == []


def test_a_text_block_before_any_command_is_not_an_output(readme: Readme):
    assert readme(fence("text", "a drawing"), fence("bash", "echo one")) == []


def test_a_fence_inside_a_list_is_run(readme: Readme):
    with pytest.raises(ReadmeError, match="exit code 3"):
        readme("1. first\n\n   ```bash\n   exit 3\n   ```\n")


def test_a_wrong_output_fails_with_the_place_the_command_and_what_was_seen(readme: Readme):
    with pytest.raises(ReadmeError) as failure:
        readme(fence("bash", "seq 100; echo one"), fence("text", "two"))
    message = str(failure.value)
    assert message.startswith("README.md:9: this is not what the command printed\n--- command\nseq 100; echo one\n")
    assert "--- expected\ntwo\n--- seen (last 40 of 101 lines)\n62\n63\n" in message
    assert message.endswith("\n100\none")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (fence("bash", "exit 2"), "README.md:3: ended with exit code 2, expected 0"),
        (fence("bash exit=2", "true"), "ended with exit code 0, expected 2"),
        (fence("bash", "false\ntrue"), "ended with exit code 1"),
        (fence("bash", "false | true"), "ended with exit code 1"),
        (fence("bash", "echo $unset_variable"), "unbound variable"),
        (fence("bash timeout=0.3", "echo before; sleep 60"), "did not end within 0.3 seconds(.|\n)*before"),
        (fence("bash", "read line"), "ended with exit code 1"),
        (fence("bash ready=up timeout=0.3", "echo starting; sleep 60"), "was ready: not within 0.3 s(.|\n)*starting"),
        (fence("bash ready=up", "echo broken; exit 1"), "was ready: ended before with exit code 1(.|\n)*broken"),
        (fence('bash type="a" timeout=0.3', "sleep 60"), "asked for 'a': not within 0.3 s"),
        (fence('bash type="q; again"', CHATTY), "asked for 'again': ended before with exit code 0"),
        (fence('bash type="a" timeout=0.3', CHATTY), "did not end within 0.3 s"),
    ],
)
def test_a_block_that_does_not_do_what_it_says_fails(readme: Readme, block: str, message: str):
    started = time.monotonic()
    with pytest.raises(ReadmeError, match=message):
        readme(block)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (fence("sh", "true"), "README.md:3: use bash, not sh"),
        (fence("console", "$ true"), "use bash, not console"),
        (fence("Bash", "true"), "use bash, not Bash"),
        (fence("bash-session", "true"), "use bash, not bash-session"),
        (fence("bash ext=2", "true"), "a bash block has no attribute 'ext'"),
        (fence("text ready=up", "true"), "a text block has no attribute 'ready'"),
        (fence('bash skip=""', "true"), "skip= needs a value"),
        (fence("bash skip", "true"), "skip= needs a value"),
        (fence('bash skip="', "true"), "No closing quotation"),
        (fence("bash name=worker", "true"), "name= needs ready="),
        (fence("bash exit=no", "true"), "exit=no is not a number"),
        (fence("bash stop=worker"), "no program above has the name 'worker'"),
        (fence("text of=worker", "one"), "no program above has the name 'worker'"),
        (fence("bash", "echo one") + fence("text"), "README.md:6: an empty text block shows nothing"),
    ],
)
def test_a_block_that_would_escape_the_runner_fails(readme: Readme, block: str, message: str):
    with pytest.raises(ReadmeError, match=message):
        readme(block)


def test_a_skipped_block_is_not_run_but_listed(readme: Readme):
    skipped = readme(fence('bash skip="needs Docker"', "exit 1"), fence("text", "its output"))
    assert skipped == ["README.md:3: skipped: needs Docker"]


def test_a_slow_block_is_run_only_where_there_is_time(tmp_path: Path):
    (tmp_path / "README.md").write_text(fence('bash slow="a minute"', "touch ran"), encoding="utf-8")
    assert run_document(tmp_path, "README.md", slow=False) == ["README.md:1: skipped: a minute"]
    assert not (tmp_path / "ran").exists()
    assert run_document(tmp_path, "README.md", slow=True) == []
    assert (tmp_path / "ran").exists()


def test_a_program_that_stays_is_read_while_others_run_and_is_ended_at_the_end(readme: Readme, tmp_path: Path):
    readme(
        fence("bash ready=working name=worker", WORKER),
        fence("text", "working"),
        fence("bash ready=ready name=late", "echo ready; sleep 0.2; echo later; sleep 60"),
        fence("text", "later"),
        fence("bash", "kill -0 $(cat worker.pid); echo ok"),
        fence("text of=worker", "working"),
        fence("text", "ok"),
    )
    assert not is_running(tmp_path / "worker.pid")


def test_stop_presses_ctrl_c_and_the_name_can_be_used_again(readme: Readme):
    readme(
        fence("bash ready=working name=worker", WORKER),
        fence("bash stop=worker", "# press Ctrl-C"),
        fence("text of=worker", "working\nbye"),
        fence("bash ready=working name=worker", WORKER),
        fence("bash kill=worker", "! kill -0 $(cat worker.pid)"),
        fence("bash ready=working name=worker", WORKER),
    )


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([fence("bash stop=worker"), fence("bash stop=worker")], "README.md:21: 'worker' has ended already"),
        ([fence("bash ready=working name=worker", WORKER)], "README.md:15: 'worker' still runs since README.md:3"),
        ([fence("text of=worker timeout=0.3", "bye")], "README.md:15: this is not what the command printed"),
    ],
)
def test_a_wrong_use_of_a_named_program_fails(readme: Readme, tmp_path: Path, blocks: list[str], message: str):
    with pytest.raises(ReadmeError, match=message):
        readme(fence("bash ready=working name=worker", WORKER), *blocks)
    assert not is_running(tmp_path / "worker.pid")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("trap '' INT; echo up; exec sleep 60", "README.md:3: still runs 0.3 seconds after SIGINT"),
        ("trap '' INT TERM; echo up; exec sleep 60", "still runs 0.3 seconds after SIGTERM"),
        ("trap '' INT; sleep 60 & trap 'exit 0' INT; echo up; wait", "after SIGINT: sleep 60"),
        ("trap 'exit 1' INT; echo up; while true; do sleep 0.05; done", "ended with exit code 1, expected 0 or 130"),
        ("echo up; exit 1", "exit code 1"),
    ],
)
@pytest.mark.parametrize("stop", [fence("bash stop=it"), ""])
def test_a_program_that_does_not_end_well_fails_and_is_ended(
    readme: Readme, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, message: str, stop: str
):
    monkeypatch.setattr(readme_runner, "STOP_SECONDS", 0.3)
    with pytest.raises(ReadmeError, match=message):
        readme(fence("bash ready=up name=it", f"echo $$ > it.pid; {program}"), stop)
    assert not is_running(tmp_path / "it.pid")


def test_what_a_block_leaves_behind_runs_on_until_the_end_of_the_document(readme: Readme, tmp_path: Path):
    readme(
        fence("bash", "sleep 60 &\necho $! > left.pid"),
        fence("bash", "kill -0 $(cat left.pid)"),
    )
    assert not is_running(tmp_path / "left.pid")


def test_lines_are_typed_after_the_prompt_and_seen_as_in_a_terminal(readme: Readme):
    readme(
        fence('bash type="5.1 3.5; two; q"', CHATTY),
        fence("text", "> 5.1 3.5\nyou said 5.1 3.5\n> two\nyou said two\n> q"),
    )


def test_ctrl_c_and_ctrl_d_are_pressed_at_another_prompt(readme: Readme):
    program = """python -c '
try:
    input("name? ")
except KeyboardInterrupt:
    print(" interrupted")
try:
    input("again? ")
except EOFError:
    print("end")
'"""
    readme(fence('bash type="^C; ^D" prompt="? "', program), fence("text", "name? ^C interrupted\nagain? end"))


def test_a_program_that_stays_can_be_typed_into(readme: Readme):
    readme(
        fence('bash ready=welcome name=client type="one"', f"echo welcome\n{CHATTY}"),
        fence("text", "> one\nyou said one"),
        fence("bash kill=client"),
    )


def test_documented_ports_are_replaced_by_free_ones_everywhere(readme: Readme, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IRIS_SIMULATED_CPU_SECONDS", "1")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "mine:9092")
    readme(
        fence("bash", 'test "localhost:9092" = $KAFKA_BOOTSTRAP_SERVERS; test -z "${IRIS_SIMULATED_CPU_SECONDS:-}"'),
        fence("bash", "test http://127.0.0.1:8000 = $IRIS_REST_URL; test --port=8000 = --port=$UVICORN_PORT"),
        fence("bash", "echo --port $UVICORN_PORT, took 8000 ms"),
        fence("text", "--port 8000, took 8000 ms"),
        fence("bash", "for address in :9092 :8000 :8001; do echo ${address#:}; done | sort -u | wc -l"),
        fence("text", "...3"),
        fence("bash exit=1", "echo localhost:8000 | grep -w 8000"),
    )


def test_the_copy_has_the_repository_s_files_with_their_times_and_the_environment(tmp_path: Path):
    root, copy = tmp_path / "root", tmp_path / "copy"
    (root / "stage").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    for name in (".gitignore", "stage/new.py", "ignored.txt", "deleted.py"):
        (root / name).write_text("ignored.txt\n", encoding="utf-8")
    subprocess.run(["git", "add", "deleted.py"], cwd=root, check=True)
    (root / "deleted.py").unlink()
    os.utime(root / "stage/new.py", (1, 1))
    copy_repository(root, copy)
    assert sorted(path.name for path in copy.rglob("*") if path.name != ".venv") == [".gitignore", "new.py", "stage"]
    assert (copy / "stage/new.py").stat().st_mtime == 1
    (copy / "README.md").write_text(
        fence("bash", '.venv/bin/python -c "import markdown_it"; python -c "import markdown_it"'), encoding="utf-8"
    )
    run_document(copy, "README.md")

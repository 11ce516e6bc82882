"""Every command of every page runs, and prints what the page shows."""

from pathlib import Path

import pytest

pytest.importorskip("termios", reason="the READMEs' commands are run in Unix terminals")
from tests.readme_blocks import ReadmeError
from tests.readme_runner import run_document
from tests.repository_copy import copy_repository, repository_files

ROOT = Path(__file__).resolve().parents[1]
PAGES = [name for name in repository_files(ROOT) if name.endswith(".md")]


def test_the_front_page_is_among_the_pages_that_are_run():
    assert "README.md" in PAGES


@pytest.mark.parametrize("name", PAGES)
def test_every_command_runs_and_prints_what_the_page_shows(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy_repository(ROOT, tmp_path / "repository")
    try:
        skipped = run_document(tmp_path / "repository", name)
    except ReadmeError as error:
        pytest.fail(str(error), pytrace=False)
    with capsys.disabled():
        for line in skipped:
            print(f"\n  {line}", end="")

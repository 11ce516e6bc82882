"""Every command of every page runs and prints what the page shows; pages are short, and their links lead somewhere."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

pytest.importorskip("termios", reason="the pages' commands are run in Unix terminals")
from tests.readme_blocks import ReadmeError
from tests.readme_runner import run_document
from tests.repository_copy import copy_repository, repository_files

ROOT = Path(__file__).resolve().parents[1]
PAGES = [name for name in repository_files(ROOT) if name.endswith(".md")]
SLOW_BLOCK = re.compile(r"^```(bash|text).* slow=", re.MULTILINE)
STAGES = [name for name in PAGES if re.fullmatch(r"\d_\w+/README.md", name)]
HEADINGS = ["Idea", "Run", "You should see", "What changed", "What it cannot do", "Exercises"]
LINE_CHARACTERS = 100  # of prose
MOST_WORDS = {"README.md": 800, "5_task_queue/README.md": 1000}
STAGE_WORDS = 500  # of prose, two minutes: commands, outputs and drawings are not read like that
RENDERED = re.compile(r"^<!-- \[\[\[cog.*?^<!-- \[\[\[end\]\]\] -->$", re.DOTALL | re.MULTILINE)
FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without(pattern: re.Pattern[str], text: str) -> str:
    """The text with matches taken out; the lines keep their numbers."""
    return pattern.sub(lambda match: "\n" * match[0].count("\n"), text)


def is_prose(line: str) -> bool:
    """Whether a line can be wrapped: no row of a table, and more than links.

    >>> is_prose("| a | b |"), is_prose("Previous: [a](b.md) · Next: [c](d.md)"), is_prose("see [a](b.md), too")
    (False, False, True)
    """
    return not line.startswith("|") and bool(re.sub(r"\b(Previous|Next):|[·\s]", "", LINK.sub("", line)))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    tokens = MarkdownIt().parse(text)
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", LINK.sub(r"\1", heading).lower()).replace(" ", "-") for heading in headings}


def test_the_front_page_is_among_the_pages_that_are_run():
    assert "README.md" in PAGES


RUNS = [(name, False) for name in PAGES] + [
    pytest.param(name, True, marks=pytest.mark.slow) for name in PAGES if SLOW_BLOCK.search(read(name))
]


@pytest.mark.parametrize(("name", "slow"), RUNS)
def test_every_command_runs_and_prints_what_the_page_shows(
    name: str, slow: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy_repository(ROOT, tmp_path / "repository")
    try:
        skipped = run_document(tmp_path / "repository", name, slow)
    except ReadmeError as error:
        pytest.fail(str(error), pytrace=False)
    with capsys.disabled():
        for line in skipped:
            print(f"\n  {line}", end="")


@pytest.mark.parametrize("name", PAGES)
def test_no_line_of_prose_is_longer_than_a_reader_likes(name: str):
    lines = without(FENCE, without(RENDERED, read(name))).split("\n")
    long = [f"{name}:{n}: {line}" for n, line in enumerate(lines, 1) if len(line) > LINE_CHARACTERS and is_prose(line)]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name: str):
    wrong = []
    for text, target in LINK.findall(without(FENCE, read(name))):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            wrong.append(f"{name}: [{text}]({target})")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", MOST_WORDS)
def test_a_page_is_no_longer_than_it_may_be(name: str):
    assert len(read(name).split()) <= MOST_WORDS[name]


def test_there_are_six_stages():
    assert len(STAGES) == 6


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_s_page_has_the_same_headings_a_drawing_and_two_minutes_of_prose(name: str):
    text = read(name)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert "```mermaid\n" in text
    prose = LINK.sub(r"\1", without(FENCE, without(RENDERED, text)))
    assert len(prose.split()) <= (MOST_WORDS.get(name) or STAGE_WORDS)

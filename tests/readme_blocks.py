"""The bash and text blocks of a document, read and checked; `readme_runner.py` says what their attributes mean."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

BLOCK_SECONDS = 60.0
ATTRIBUTES = {
    "bash": {"exit", "timeout", "skip", "slow", "ready", "name", "stop", "kill", "type", "prompt"},
    "text": {"of", "timeout", "skip", "slow"},
}
NEEDS = {"name": "ready", "prompt": "type"}
SHELL = re.compile(r"\W*(bash|sh|shell|shellsession|console|terminal|zsh)\b", re.IGNORECASE)


class ReadmeError(AssertionError):
    """A document that does not do what it says; the message tells where, what was expected and what was seen."""


@dataclass
class Block:
    """A fenced block: its place (`document:line`), language, text and attributes."""

    place: str
    language: str
    text: str
    attributes: dict[str, str]

    @property
    def seconds(self) -> float:
        return float(self.attributes.get("timeout", BLOCK_SECONDS))


def read_blocks(document: Path, name: str) -> list[Block]:
    """The bash and text blocks of a document in their order; raise ReadmeError for what would never be checked."""
    blocks = []
    for token in MarkdownIt().parse(document.read_text(encoding="utf-8")):
        if token.type != "fence" or token.map is None:
            continue
        place = f"{name}:{token.map[0] + 1}"
        language = (token.info.split() or [""])[0]
        if SHELL.match(language) and language != "bash":
            raise ReadmeError(f"{place}: use bash, not {language}: only bash blocks are run")
        if language not in ATTRIBUTES:
            continue
        try:
            pairs = [word.partition("=") for word in shlex.split(token.info)[1:]]
        except ValueError as error:
            raise ReadmeError(f"{place}: {error}: {token.info}") from error
        block = Block(place, language, token.content.strip("\n"), {key: value for key, _, value in pairs})
        check_attributes(block)
        blocks.append(block)
    return blocks


def check_attributes(block: Block) -> None:
    """Raise ReadmeError for a misspelt, empty or lonely attribute, and for an empty text block."""
    for key, value in block.attributes.items():
        if key not in ATTRIBUTES[block.language]:
            raise ReadmeError(f"{block.place}: a {block.language} block has no attribute {key!r}")
        if not value and key != "type":
            raise ReadmeError(f"{block.place}: {key}= needs a value")
        if key in NEEDS and NEEDS[key] not in block.attributes:
            raise ReadmeError(f"{block.place}: {key}= needs {NEEDS[key]}=")
        if key in {"exit", "timeout"} and not re.fullmatch(r"\d+(\.\d+)?" if key == "timeout" else r"\d+", value):
            raise ReadmeError(f"{block.place}: {key}={value} is not a number")
    if block.language == "text" and not block.text.strip():
        raise ReadmeError(f"{block.place}: an empty text block shows nothing")


def shows(output: str, expected: str) -> bool:
    """Whether `expected`, where `...` stands for anything, is a run of lines of `output`; ends of lines are trimmed.

    >>> shows("one\\ntwo  \\nthree", "t...\\nthree"), shows("one", "on")
    (True, False)
    """
    seen, wanted = ("\n" + "\n".join(map(str.rstrip, text.split("\n"))) + "\n" for text in (output, expected))
    position = 0
    for piece in wanted.split("..."):
        found = seen.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return True

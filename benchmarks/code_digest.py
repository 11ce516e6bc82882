"""A digest of code that stays the same when only comments, docstrings or the layout change."""

import ast
import hashlib
from pathlib import Path

from common.settings import ROOT

WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def digest(name: str, root: Path = ROOT) -> str:
    """Return the digest of a module or of all modules in a folder (`common/kafka`); empty if there is none."""
    place = root / name
    whole = hashlib.sha256()
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place] if place.exists() else []
    for file in files:
        whole.update(f"{file.relative_to(root).as_posix()}\n{code_of(file.read_text(encoding='utf-8'))}\n".encode())
    return whole.hexdigest()[:16] if files else ""


def code_of(text: str) -> str:
    """Return a module's code as its syntax tree says it.

    >>> code_of("def one():  # a comment\\n    'A docstring.'\\n    return (1)")
    'def one():\\n    return 1'
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.unparse(tree)


def changed(known: dict[str, str], root: Path = ROOT) -> list[str]:
    """Return which of the modules differ from their known digests."""
    return [name for name, known_digest in known.items() if digest(name, root) != known_digest]

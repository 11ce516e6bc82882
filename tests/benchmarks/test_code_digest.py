"""A digest tells code that has changed from code that only reads differently."""

from pathlib import Path

import pytest

from benchmarks.code_digest import changed, digest

CODE = '"""One."""\n\n\nclass A:\n    """Two."""\n\n    def f(self):\n        """Three."""\n        return 1 + 1\n'


@pytest.mark.parametrize(
    ("old", "new"), [("Three", "Four"), ("1 + 1", "(1 + 1)  # two"), ("\n\n\n", "\n"), ('    """Two."""\n\n', "")]
)
def test_comments_docstrings_and_layout_do_not_count(old: str, new: str, tmp_path: Path):
    assert _digest(CODE, tmp_path) == _digest(CODE.replace(old, new), tmp_path)


@pytest.mark.parametrize(("old", "new"), [("1 + 1", "1 + 2"), ("def f", "def g"), ("return", "yield")])
def test_code_counts(old: str, new: str, tmp_path: Path):
    assert _digest(CODE, tmp_path) != _digest(CODE.replace(old, new), tmp_path)


def test_a_folder_has_the_digest_of_all_its_modules(tmp_path: Path):
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "one.py").write_text("a = 1", encoding="utf-8")
    known = {"worker": digest("worker", tmp_path)}
    assert changed(known, tmp_path) == []
    (tmp_path / "worker" / "two.py").write_text("b = 1", encoding="utf-8")
    assert changed(known, tmp_path) == ["worker"]


def test_what_is_gone_has_changed(tmp_path: Path):
    assert changed({"gone.py": "0123456789abcdef"}, tmp_path) == ["gone.py"]


def _digest(code: str, folder: Path) -> str:
    (folder / "module.py").write_text(code, encoding="utf-8")
    return digest("module.py", folder)

"""A copy of the repository, so that what a test runs in it is its own."""

import shutil
import subprocess
import sys
from pathlib import Path


def repository_files(root: Path) -> list[str]:
    """Return the files that belong to the repository: committed, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, encoding="utf-8").stdout
    return sorted({name for name in listing.split("\0") if name and (root / name).is_file()})


def copy_repository(root: Path, target: Path) -> None:
    """Copy the repository's files with their times, and link `.venv` to the environment that runs the tests."""
    for name in repository_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name, follow_symlinks=False)
    (target / ".venv").symlink_to(sys.prefix)

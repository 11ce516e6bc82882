"""No two living workers share a number on one machine, or a transactional id anywhere."""

import importlib
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from common.errors import ProgramError

slot: Any = importlib.import_module("5_task_queue.worker.slot")


def test_a_slot_is_free_again_when_its_worker_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slot, "RUN_DIR", tmp_path)
    (first, lock), (second, other) = slot.take_slot(), slot.take_slot()
    assert (first, second) == ("0", "1")
    with pytest.raises(ProgramError, match=r"Slot 1 is taken by another worker\."):
        slot.take_slot(1)
    lock.release()
    assert slot.take_slot()[0] == "0"
    other.release()


def test_a_transactional_id_outlives_its_worker_and_differs_on_every_host_and_in_every_container_and_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here = (tmp_path / "a", "host", tmp_path / "boot", tmp_path / "namespace")
    others = [(*here[:i], tmp_path / f"other {i}", *here[i + 1 :]) for i in range(len(here))]
    ids = []
    for folder, host, boot, namespace in [here, here, *others]:
        for file in (boot, namespace):
            file.write_text(str(file))
        monkeypatch.setattr(slot, "RUN_DIR", folder)
        monkeypatch.setattr(socket, "gethostname", lambda host=host: str(host))
        monkeypatch.setattr(slot, "BOOT_ID", boot)
        monkeypatch.setattr(slot, "NAMESPACE", namespace)
        ids.append(slot.transactional_id("group", "0"))
    assert ids[0] == ids[1] and len(set(ids)) == 5
    assert ids[-1] != slot.transactional_id("group", "1")


def test_the_locks_of_a_copied_checkout_are_not_those_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slot, "RUN_DIR", tmp_path / "first")
    first = slot.transactional_id("group", "0")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    monkeypatch.setattr(slot, "RUN_DIR", tmp_path / "copy")
    assert slot.transactional_id("group", "0") != first


def test_a_name_of_its_own_is_the_same_id_everywhere_and_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slot, "RUN_DIR", tmp_path)
    monkeypatch.setenv("IRIS_WORKER_NAME", "worker-3")
    name, lock = slot.take_slot()
    assert (name, slot.transactional_id("group", name)) == ("worker-3", "group-worker-3")
    with pytest.raises(ProgramError, match=r"worker-3 \(IRIS_WORKER_NAME\) is taken"):
        slot.take_slot()
    lock.release()


def test_where_no_lock_can_be_written_it_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(slot, "RUN_DIR", tmp_path / "file")
    with pytest.raises(ProgramError, match=r"^Cannot write the locks of workers: Not a directory: .*/file/slots\.$"):
        slot.take_slot()

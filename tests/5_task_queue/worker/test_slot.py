"""No two living workers share a number on one machine, or a transactional id anywhere."""

import importlib
import socket
from pathlib import Path
from typing import Any

import pytest

from common.errors import ProgramError

slot: Any = importlib.import_module("5_task_queue.worker.slot")


def test_a_slot_is_free_again_when_its_worker_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slot, "RUN_DIR", tmp_path)
    (first, lock), (second, other) = slot.take_slot(), slot.take_slot()
    assert (first, second) == (0, 1)
    with pytest.raises(ProgramError, match=r"Slot 1 is taken by another worker\."):
        slot.take_slot(1)
    lock.release()
    assert slot.take_slot()[0] == 0
    other.release()


def test_a_transactional_id_outlives_its_worker_and_differs_on_every_host_and_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ids = []
    for host, checkout in (("one", "a"), ("one", "a"), ("one", "b"), ("two", "a")):
        monkeypatch.setattr(slot, "RUN_DIR", tmp_path / checkout)
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        ids.append(slot.transactional_id("group", 0))
    assert ids[0] == ids[1] and len(set(ids)) == 3
    assert ids[0] != slot.transactional_id("group", 1)

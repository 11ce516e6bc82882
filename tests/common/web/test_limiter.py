"""The limiter: never more than the limit, and every slot comes back."""

import pytest

from common.web.limiter import Full, Slots


@pytest.mark.parametrize("limit", [0, 3])
def test_never_more_than_the_limit_and_every_slot_comes_back(limit: int):
    slots, entered, refused = Slots("text", limit), 0, []
    for _ in range(10):
        try:
            slots.__enter__()
            entered += 1
        except Full as full:
            refused.append(full)
    assert entered == slots.in_flight == (limit or 10)
    assert slots.refusals == len(refused) == 10 - entered
    for full in refused:
        assert (full.status, full.retry_after, full.extra) == (503, 1.0, {"limit": 3, "in_flight": 3})
        assert full.detail == "3 texts are in flight, the limit is 3. Try again in 1 s."
    for _ in range(entered):
        slots.__exit__(None, None, None)
    assert slots.in_flight == 0


def test_a_failure_gives_the_slot_back():
    slots = Slots("text", 1)
    with pytest.raises(RuntimeError), slots:
        raise RuntimeError
    with slots:
        assert slots.in_flight == 1

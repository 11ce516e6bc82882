"""What happens to workers, in quick mode: nothing is lost, and nothing is doubled that must not be."""

import pytest

from tests.faults.conftest import Attempt
from tests.faults.quick import faults_of, wrong


@pytest.mark.parametrize(("fault", "delivery"), faults_of("worker_faults"))
def test_nothing_is_lost_and_nothing_doubled(fault: str, delivery: str, attempt: Attempt) -> None:
    assert wrong(attempt(fault, delivery)) == []

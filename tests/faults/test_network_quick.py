"""Bad networks, in quick mode, by the table's own command: it has to enter a network of its own."""

from pathlib import Path

import pytest

from common.programs import Program
from faults import network, table
from faults.catalogue import FAULTS

COMMAND_SECONDS = 900.0
NETWORKS = [name for name, fault in FAULTS.items() if fault.module == "network_faults"]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def private_network() -> None:
    if reason := network.missing():
        pytest.skip(reason)


def _figures(folder: Path, *options: str) -> None:
    command = ["python", "-W", "error", "-m", "faults", "--quick", "--json", folder / "faults.json", *options]
    with Program(command, dies_with_us=True) as program:
        code = program.wait(COMMAND_SECONDS)
    run = table.read(folder / "faults.json")
    print("\n".join(table.missed(run)))  # how long something took is the table's matter, not a test's
    assert code == (1 if table.missed(run) else 0), program.output
    assert {record.row for record in run.figures.values()} == set(options[options.index("--fault") + 1 :])
    assert all(run.value(r.table, r.row, "times") for r in run.figures.values() if r.column == "times"), program.output
    wrong = [record for record in run.figures.values() if record.at_most == 0 and not record.reached]
    assert wrong == [], program.output


@pytest.mark.parametrize("fault", NETWORKS)
def test_nothing_is_lost_when_a_network_breaks(fault: str, tmp_path: Path) -> None:
    _figures(tmp_path, "--fault", fault)

"""Some of the 300 bad inputs of `benchmarks/bad_inputs.py`: one sentence each, and all goes on."""

import browser
import psutil
from siege import Siege


def test_bad_input_costs_one_sentence_and_nothing_else(tmp_path):
    before = set(psutil.Process().children())
    with browser.serving(tmp_path / "log.txt") as address:
        (server,) = set(psutil.Process().children()) - before
        found = Siege(address, server, tmp_path, seed=1).lay(30)
    assert not found.faults and not found.ran
    assert found.sent.total() == 30 and found.told.total() > 15
    assert found.growth < 0.05

# SPDX-License-Identifier: Apache-2.0
"""Every fault, one by one: `python -m pytest -m slow tests/faults`; tests/faults/run.py prints the table."""

import os
import shutil

import pytest
from faults.scenarios import SCENARIOS, kills

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_and_nothing_hangs(work, name):
    if name.startswith("disk") and os.geteuid() != 0:
        pytest.skip("a small file system is mounted, which root alone may do")
    row = SCENARIOS[name](work)
    assert row.good, row


def test_sigkill_at_random_moments(work):
    row = kills(work, int(os.environ.get("SIRI_KILLS", "6")))
    assert row.good, row

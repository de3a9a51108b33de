# SPDX-License-Identifier: Apache-2.0
import pytest

from siri_verl.trajectory.failed_tasks import LOOKED_AT, FailedTasks, FailedTasksError


def test_failed_tasks_are_named_once_with_the_last_line_of_the_error(caplog):
    failed = FailedTasks(0.5, "field")
    failed.failed("t1", "Traceback ...\n  line\nValueError: damaged\n")
    failed.failed("t1", "Traceback ...\n  line\nValueError: damaged\n")
    failed.failed("t2", SystemExit(3))
    assert failed.reasons == {"t1": "ValueError: damaged", "t2": "SystemExit: 3"}
    assert caplog.text.count("t1 cannot be played and does not count: ValueError: damaged") == 1


def test_many_failed_tasks_stop():
    failed = FailedTasks(0.5, "siri.rollout.max_failed_task_share")
    for number in range(LOOKED_AT - 1):
        failed.failed(f"t{number}", "ValueError: damaged")
    with pytest.raises(FailedTasksError) as error:
        failed.failed("last", "ValueError: damaged")
    for part in ("10 of the 10 tasks tried", "max_failed_task_share=0.5", "t0: ValueError: damaged", "and 7 more"):
        assert part in str(error.value)


@pytest.mark.parametrize("limit, number", [(0.5, 6), (None, 12)])
def test_fewer_do_not(limit, number):
    failed = FailedTasks(limit, "field")
    for task in range(12):
        failed.tried(str(task))
    for task in range(number):
        failed.failed(str(task), "damaged")
    failed.check()
    assert len(failed.reasons) == number


def test_a_last_check_looks_at_however_few_there_are():
    failed = FailedTasks(0.5, "field")
    failed.failed("t1", "damaged")
    with pytest.raises(FailedTasksError, match="1 of the 1 tasks"):
        failed.check()

# SPDX-License-Identifier: Apache-2.0
"""A non-finite update stops the run and names the rows, read back from a real TransferQueue."""

import math

import pytest
import ray
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.utils.metric import AggregationType, Metric

from siri_verl.training import queue
from siri_verl.training.update_guard import NonFiniteUpdateError, check_rows, check_update, non_finite

NAN, INF = math.nan, math.inf
KEYS = ["u_0_0", "u_0_1", "v_0_0"]


@pytest.fixture(scope="module")
def put():
    """`put(**columns)` stores jagged columns of three rows and returns the batch that names them."""
    import transfer_queue as tq

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    tq.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))

    def store(**columns):
        jagged = {
            name: torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)
            for name, rows in columns.items()
        }
        fields = TensorDict(jagged, batch_size=len(KEYS))
        return tq.kv_batch_put(keys=KEYS, partition_id="train", fields=fields, tags=[{} for _ in KEYS])

    yield store
    tq.close()
    ray.shutdown()


def metric(*values):
    made = Metric(AggregationType.SUM)
    made.extend(list(values))
    return made


MASK = [[1, 1], [1, 1, 1], [1]]
FINE = [[0.5, 0.5], [-1.0, -1.0, -1.0], [0.0]]


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ({"loss": [0.1, 0.2], "grad_norm": [1.0, 2.0], "lr": [1e-6]}, {}),
        ({"loss": [0.1, 0.2], "grad_norm": [1.0, NAN]}, {"grad_norm": [1]}),
        ({"loss": NAN, "grad_norm": [INF, 1.0, -INF]}, {"loss": [0], "grad_norm": [0, 2]}),
        ({"pg_loss": metric(0.1, NAN)}, {"pg_loss": [1]}),
        ({"kl_loss": torch.tensor([0.1, INF])}, {"kl_loss": [1]}),
        ({"mfu": [NAN]}, {}),  # measures the machine
        ({}, {}),
    ],
)
def test_non_finite_values_are_found_by_name_and_optimizer_step(metrics, found):
    assert non_finite(metrics) == found


def test_a_finite_update_passes_without_reading_anything_back():
    check_update({"loss": [0.1], "grad_norm": [0.0]}, batch=None)


def test_the_rows_with_bad_columns_are_named(put):
    batch = put(advantages=[[0.5, 0.5], [1.0, NAN, 1.0], [0.0]], old_log_probs=[[-1.0, -1.0], [-1.0] * 3, [-INF]],
                loss_mask=MASK)  # fmt: skip
    with pytest.raises(NonFiniteUpdateError) as error:
        check_update({"loss": [0.1, NAN], "grad_norm": [1.0, NAN]}, batch)
    text = str(error.value)
    assert "loss at [1]; grad_norm at [1]" in text
    assert "advantages: 1 rows, first ['u_0_1']" in text and "old_log_probs: 1 rows, first ['v_0_0']" in text


def test_an_optimizer_step_without_loss_tokens_is_suspected_when_all_columns_are_finite(put):
    batch = put(advantages=FINE, old_log_probs=FINE, loss_mask=[[1, 1], [0, 0, 0], [0]])
    with pytest.raises(NonFiniteUpdateError, match=r"2 rows hold no loss token \(first \['u_0_1', 'v_0_0'\]\)"):
        check_update({"grad_norm": [NAN]}, batch)


def test_without_a_suspect_the_model_itself_is_named(put):
    batch = put(advantages=FINE, loss_mask=MASK)
    with pytest.raises(NonFiniteUpdateError, match="0 rows hold no loss token .* smaller learning rate"):
        check_update({"grad_norm": [INF]}, batch)


def test_rows_that_are_not_finite_stop_the_step_before_the_update(put):
    batch = put(advantages=[[0.5, 0.5], [1.0, NAN, 1.0], [0.0]], old_log_probs=FINE, loss_mask=MASK, response_mask=MASK)
    with pytest.raises(
        NonFiniteUpdateError, match=r"nothing was updated.*advantages: 1 rows, first \['u_0_1'\].*=skip"
    ):
        check_rows(batch, skip=False)


def test_rows_that_are_not_finite_are_taken_out_and_counted(put, caplog):
    batch = put(advantages=[[0.5, 0.5], [1.0, NAN, 1.0], [0.1]], old_log_probs=[[-1.0, -1.0], [-1.0] * 3, [-INF]],
                loss_mask=MASK, response_mask=MASK)  # fmt: skip
    assert check_rows(batch, skip=True) == 2
    assert "2 of 3 rows are left out" in caplog.text and "u_0_1" in caplog.text
    found = queue.get_columns(KEYS, "train", ["advantages", "old_log_probs", "loss_mask", "response_mask"])
    assert [row.tolist() for row in found["advantages"]] == [[0.5, 0.5], [0.0] * 3, [0.0]]
    assert [row.tolist() for row in found["old_log_probs"]] == [[-1.0, -1.0], [0.0] * 3, [0.0]]
    for mask in ("loss_mask", "response_mask"):
        assert [row.tolist() for row in found[mask]] == [[1, 1], [0, 0, 0], [0]]
    assert check_rows(batch, skip=False) == 0, "what is left is finite"


def test_finite_rows_are_left_alone(put):
    batch = put(advantages=FINE, old_log_probs=FINE, loss_mask=MASK, response_mask=MASK)
    assert check_rows(batch, skip=True) == check_rows(batch, skip=False) == 0
    assert [row.tolist() for row in queue.get_columns(KEYS, "train", ["loss_mask"])["loss_mask"]] == MASK


def test_steps_that_are_not_finite_are_counted_and_left_out_of_the_metrics(caplog):
    metrics = {"loss": metric(0.1, NAN, 0.3), "grad_norm": [1.0, INF, 2.0], "lr": [1e-6]}
    assert check_update(metrics, None, skip=True) == 1
    assert metrics["loss"].values == [0.1, 0.3] and metrics["grad_norm"] == [1.0, 2.0]
    assert "1 optimizer steps are left out" in caplog.text


def test_an_update_without_a_finite_step_stops_in_either_case(put):
    batch = put(advantages=FINE, loss_mask=MASK)
    with pytest.raises(NonFiniteUpdateError, match="not finite"):
        check_update({"grad_norm": [NAN, NAN]}, batch, skip=True)

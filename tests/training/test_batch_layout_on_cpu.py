# SPDX-License-Identifier: Apache-2.0
"""Every optimizer step of actor and critic holds a real row, whatever the padding."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from siri_verl.training.batch_layout import BatchLayout, batch_layout, spread_padding


def config(mini_tasks, n, micro, critic_tasks=1):
    actor = {"ppo_mini_batch_size": mini_tasks, "use_dynamic_bsz": micro is None, "ppo_micro_batch_size_per_gpu": micro}
    rollout = {"n": n, "log_prob_micro_batch_size_per_gpu": micro}
    roles = {"actor": actor, "rollout": rollout}
    return OmegaConf.create({"actor_rollout_ref": roles, "critic": {"ppo_mini_batch_size": critic_tasks}})


def steps_hold_rows(real, dp_size, steps):
    parts = np.asarray(real).reshape(dp_size, steps, -1)
    return bool(parts.any(axis=(0, 2)).all())


@given(
    rows=st.integers(1, 512), dp_size=st.integers(1, 4), mini_batches=st.none() | st.integers(1, 8),
    mini_tasks=st.integers(1, 8), n=st.integers(1, 8), micro=st.sampled_from([None, 1, 4, 8]),
    critic_tasks=st.none() | st.integers(1, 16),
)  # fmt: skip
def test_no_optimizer_step_is_padding_alone(rows, dp_size, mini_batches, mini_tasks, n, micro, critic_tasks):
    critic = critic_tasks is not None
    given_config = config(mini_tasks, n, micro, critic_tasks)
    layout = batch_layout(given_config, rows, dp_size, mini_batches, reference_policy=False, critic=critic)
    size = -(-rows // layout.multiple) * layout.multiple
    steps = [layout.optimizer_steps]
    if critic:
        assert size % (critic_tasks * n) == 0
        steps.append(size // (critic_tasks * n))
        assume((size // dp_size) % steps[1] == 0)  # verl wants the critic's rows to be a multiple of the ranks
    assume(rows >= max(steps))
    # As verl's balancing leaves it: every rank has equally many rows, padding behind.
    real = np.sort(np.arange(size).reshape(-1, dp_size).T < rows)[:, ::-1].ravel()
    order = spread_padding((~real).tolist(), layout)
    if all(steps_hold_rows(real, dp_size, count) for count in steps):
        assert order == list(range(size))
    assert all(steps_hold_rows(real[order], dp_size, count) for count in steps)
    assert sorted(order) == list(range(size))
    for rank in np.asarray(order).reshape(dp_size, -1) // (size // dp_size):
        assert len(set(rank.tolist())) == 1  # balancing chose the rows of a rank
    kept = [i for i in order if real[i]]
    assert kept == sorted(kept)


def test_the_batch_that_a_critic_cut_into_steps_of_padding():
    """63 rows, 28 a step of the critic and 14 of the actor: 140 rows in 5 steps."""
    layout = batch_layout(config(2, 7, None, 4), 63, 1, None, reference_policy=False, critic=True)
    assert (layout.multiple, layout.steps_over(140)) == (140, (5, 5))
    order = spread_padding([False] * 63 + [True] * 77, layout)
    assert [sum(i < 63 for i in order[k : k + 28]) for k in range(0, 140, 28)] == [13, 13, 12, 13, 12]


def test_an_order_without_such_a_step_stays():
    assert spread_padding([False, True, False, True], BatchLayout(1, 2, 1)) == [0, 1, 2, 3]


def test_there_are_no_more_steps_than_rows():
    assert batch_layout(config(1, 1, None), 3, 1, 8, reference_policy=False).optimizer_steps == 3

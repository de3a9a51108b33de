# SPDX-License-Identifier: Apache-2.0
"""Memory and counts against sums done by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.planning.architecture import KNOWN, Architecture
from siri_verl.planning.memory import (
    ASLEEP,
    GIB,
    OVERHEAD,
    WORKSPACE,
    Setup,
    activations,
    gathered,
    host,
    kv_tokens,
    logits,
    phases,
    reduced,
    states,
)
from siri_verl.planning.tokens import Batch, budget

SEVEN = KNOWN["Qwen/Qwen2.5-7B-Instruct"]
P = 7_615_616_512
# 10 words, hidden 4, MLP 6, 2 layers, 2 heads of 2, 1 for keys and values, tied
TINY = Architecture("tiny", 10, 4, 6, 2, 2, 1, 2, tied=True, qkv_bias=False)


def test_tiny_by_hand():
    # q and o 4*4 each, k and v 4*2 each, three maps of 4*6, two norms of 4
    assert TINY.layer == 16 + 16 + 8 + 8 + 72 + 8 == 128
    assert TINY.embedding == 40 and TINY.parameters == 40 + 2 * 128 + 4 == 300
    assert TINY.layer_values == 6 * 4 + (4 + 2) * 2 + 4 * 6 == 60


def test_fsdp_states_of_seven_billion_on_eight_gpus():
    assert SEVEN.parameters == P
    found = states(SEVEN, Setup("fsdp2", gpus=8, gpus_per_node=8, shard=8))
    assert (found.weights, found.gradients, found.optimizer) == (4 * P / 8, 4 * P / 8, 8 * P / 8)
    assert found.total == 15_231_233_024


def test_megatron_splits_the_optimizer_over_data_parallel_ranks_too():
    setup = Setup("megatron", gpus=8, gpus_per_node=8, shard=8, tensor=2)
    assert setup.data_parallel == 4
    found = states(SEVEN, setup)
    assert (found.weights, found.gradients, found.optimizer) == (2 * P / 2, 4 * P / 2, 12 * P / 8)
    assert states(SEVEN, replace(setup, distributed_optimizer=False)).optimizer == 12 * P / 2


def test_lora_trains_adapters_alone():
    rank = 5
    adapters = 2 * rank * ((4 + 4) * 2 + (4 + 2) * 2 + (4 + 6) * 3)
    assert TINY.adapters(rank) == adapters == 580
    found = states(TINY, Setup("fsdp2", gpus=2, gpus_per_node=2, shard=2, lora_rank=rank))
    assert (found.weights, found.gradients, found.optimizer) == (2 * 880, 2 * 580, 4 * 580)
    assert reduced(TINY, Setup("fsdp2", gpus=2, gpus_per_node=2, shard=2, lora_rank=rank)) == 0


def test_working_memory_by_hand():
    setup = Setup("fsdp2", gpus=1, gpus_per_node=1, shard=1)
    assert gathered(TINY, setup) == 2 * (40 + 2 * 128)
    assert reduced(TINY, setup) == 6 * 128, "a layer is larger than the embedding"
    # inputs of two layers, and one layer's values with their gradients
    assert activations(TINY, setup, tokens=7, gradients=True) == 2 * 7 * (2 * 4 + 2 * 60)
    assert activations(TINY, replace(setup, checkpointing=False), tokens=7, gradients=True) == 2 * 7 * 2 * 60
    assert activations(TINY, setup, tokens=7, gradients=False) == 2 * 7 * 60
    assert logits(TINY, setup, tokens=7, gradients=True) == 12 * 70
    assert logits(TINY, replace(setup, entropy=False), tokens=7, gradients=True) == 8 * 70
    assert logits(TINY, replace(setup, entropy=False), tokens=7, gradients=False) == 4 * 70
    halved = replace(setup, engine="megatron", gpus=2, tensor=2)
    assert gathered(TINY, halved) == reduced(TINY, halved) == 0
    assert logits(TINY, halved, tokens=7, gradients=True) == 6 * 70


def test_phases_add_up_by_hand():
    gpu = 80 * GIB
    setup = Setup("fsdp2", gpus=1, gpus_per_node=1, shard=1, update_tokens=7, log_prob_tokens=9)
    found = {name: sum(parts.values()) for name, parts in phases(TINY, setup, gpu).items()}
    common = OVERHEAD + ASLEEP
    assert found["rollout"] == 0.6 * gpu + OVERHEAD, "all states are on the host meanwhile"
    assert found["log-probs"] == 1200 + 592 + 2 * 9 * 60 + 8 * 90 + common
    assert found["update"] == 16 * 300 + 592 + 768 + 2 * 7 * 128 + 12 * 70 + common
    assert found["weights to the rollout engine"] == 1200 + 600 + 2 * GIB + 2 * 128 + common
    kept = phases(TINY, replace(setup, offload_weights=False, offload_optimizer=False), gpu)
    assert (kept["rollout"]["weights"], kept["rollout"]["optimizer"]) == (1200, 2400)
    streamed = phases(TINY, replace(setup, offload_policy=True), gpu)
    assert {streamed["update"][name] for name in ("weights", "gradients", "optimizer")} == {0}
    awake = phases(TINY, replace(setup, frees_cache=False), gpu)
    assert awake["update"]["sleeping rollout engine"] == 0.6 * gpu


def test_sglang_keeps_its_weights_beside_adapters_and_vllm_puts_them_on_the_host():
    setup = Setup("fsdp2", gpus=2, gpus_per_node=2, shard=2, lora_rank=8)
    gpu = 80 * GIB
    assert phases(SEVEN, setup, gpu)["update"]["sleeping rollout engine"] == ASLEEP
    assert host(SEVEN, setup)["sleeping rollout weights"] == 2 * 2 * P
    sglang = replace(setup, rollout="sglang")
    assert phases(SEVEN, sglang, gpu)["update"]["sleeping rollout engine"] == ASLEEP + 2 * P
    assert host(SEVEN, sglang)["sleeping rollout weights"] == 0


def test_host_memory_of_a_node_by_hand():
    setup = Setup("fsdp2", gpus=4, gpus_per_node=2, shard=4)
    assert host(SEVEN, setup) == {
        "training states": (4 + 8) * P / 2,
        "reference model": 4 * P / 2,
        "sleeping rollout weights": 0,
    }
    assert host(SEVEN, replace(setup, offload_policy=True))["training states"] == 16 * P / 2
    assert host(SEVEN, replace(setup, lora_rank=8))["reference model"] == 0, (
        "the model without adapters is the reference"
    )


def test_kv_cache_by_hand():
    setup = Setup("fsdp2", gpus=8, gpus_per_node=8, shard=8)
    room = 48 * GIB - 2 * P - WORKSPACE
    assert kv_tokens(SEVEN, setup, 80 * GIB) == room // 57344
    # two GPUs share heads and weights
    assert kv_tokens(SEVEN, replace(setup, rollout_tensor=2), 80 * GIB) == (48 * GIB - P - WORKSPACE) // 28672
    assert kv_tokens(SEVEN, setup, 20 * GIB) == 0


@given(
    gpus=st.sampled_from([1, 2, 4, 8, 16]),
    engine=st.sampled_from(["fsdp2", "megatron"]),
    lora=st.sampled_from([0, 16]),
    tokens=st.integers(1, 40000),
)
def test_more_gpus_never_need_more_memory_each(gpus, engine, lora, tokens):
    setup = Setup(engine, gpus, gpus, gpus, lora_rank=lora, update_tokens=tokens)
    double = replace(setup, gpus=2 * gpus, gpus_per_node=2 * gpus, shard=2 * gpus)
    one, two = phases(SEVEN, setup, 80 * GIB), phases(SEVEN, double, 80 * GIB)
    for name, parts in one.items():
        assert all(size >= 0 for size in parts.values())
        assert sum(two[name].values()) <= sum(parts.values())


WEBSHOP = Batch(tasks=16, group=8, max_turns=15, prompt=4096, response=512, mini_batch_tasks=8, iterations=150)


def test_counts_of_the_published_webshop_run_by_hand():
    found = budget(WEBSHOP)
    assert (found.sessions, found.rows, found.updates, found.rows_per_update) == (128, 1920, 30, 64)
    assert (found.prompt_tokens, found.response_tokens) == (7_864_320, 983_040)
    assert found.run_environment_steps == 288_000 and found.run_tokens == 150 * (7_864_320 + 983_040)
    assert found.internalization_rows == 960 and found.mining_tokens == 0


def test_counts_with_shorter_sessions_and_a_fixed_number_of_updates():
    mined = {"mining_requests": 8, "mining_every": 5, "mining_tokens": 192}
    found = budget(replace(WEBSHOP, turns=7.5, mini_batches=2, scored_share=0.25, **mined))
    assert (found.rows, found.updates, found.rows_per_update, found.internalization_rows) == (960, 2, 480, 240)
    assert found.mining_tokens == pytest.approx(8 / 5 * (4096 + 192))

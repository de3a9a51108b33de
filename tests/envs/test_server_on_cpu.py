# SPDX-License-Identifier: Apache-2.0
import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from siri_verl.envs.base import EpisodeOverError, UnknownTaskError
from siri_verl.envs.servers.pool import EnvironmentPool, EnvironmentPoolError, EnvironmentStartError, PoolSettings
from siri_verl.rollout.environments import pool_settings
from siri_verl.settings.schema import EnvironmentSettings

FAULTY = "support.faulty_env:siri_verl_tests/Faulty-v0"


@pytest.fixture(scope="module")
def cluster():
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}},
    )
    yield
    ray.shutdown()


def config(**changes):
    settings = dict(num_servers=2, sessions_per_server=2, step_timeout_s=20.0, open_timeout_s=60.0)
    return PoolSettings(FAULTY, **{**settings, **changes})


def run(test, name, settings):
    """Runs `test(pool)` against a pool of its own, with a limit that turns a hang into a failure."""

    async def go():
        pool = await EnvironmentPool.connect_or_create(name, settings)
        try:
            return await test(pool)
        finally:
            await pool.shutdown()

    return asyncio.run(asyncio.wait_for(go(), 120))


def word(observation, name):
    words = observation.split()
    return words[words.index(name) + 1]


def test_an_episode_runs_to_its_end(cluster):
    async def test(pool):
        session = await pool.open("s", "a", seed=7)
        assert session.result.observation.startswith("task a turn 0 seed 7") and session.result.reward == 0
        for turn in (1, 2, 3):
            result = await session.step("wait")
            assert result is session.result and result.status == "ok"
            assert (result.terminated, result.reward) == (turn == 3, float(turn == 3))
        with pytest.raises(EpisodeOverError, match="status 'ok'"):
            await session.step("wait")
        await session.close()
        metrics = await pool.metrics()
        assert metrics["opened"] == 1
        assert metrics["steps"] == 3
        assert metrics["active"] == 0
        assert metrics["lost"] == metrics["errors"] == metrics["replaced"] == 0
        assert 0 < metrics["step_seconds_mean"] <= metrics["step_seconds_max"]

    run(test, "episode", config())


def test_environments_are_used_again_and_bounded(cluster):
    async def test(pool):
        async def episode(k):
            session = await pool.open(f"s{k}", "b", seed=k)
            first = session.result.observation
            while not session.result.ended:
                await session.step("sleep 0.02")
            return word(first, "pid") + word(first, "env"), word(first, "pid")

        seen = await asyncio.gather(*(episode(k) for k in range(24)))
        assert len({env for env, _ in seen}) <= 4, "at most servers x sessions environments exist"
        assert len({pid for _, pid in seen}) == 2
        assert (await pool.metrics())["opened"] == 24

    run(test, "reuse", config())


def test_a_full_pool_serves_in_the_order_of_asking(cluster):
    async def test(pool):
        first = await pool.open("first", "a", seed=0)
        order = []

        async def wait_for_a_turn(k):
            async with await pool.open(f"w{k}", "a", seed=k):
                order.append(k)

        waiting = []
        for k in range(5):
            waiting.append(asyncio.ensure_future(wait_for_a_turn(k)))
            await asyncio.sleep(0.1)
        assert (await pool.metrics())["waiting"] == 5 and not order
        waiting.pop(1).cancel()  # a client that gives up must not hold the place it waited for
        await first.close()
        await asyncio.gather(*waiting)
        assert order == [0, 2, 3, 4]
        await asyncio.sleep(0.1)
        assert (await pool.metrics())["active"] == 0

    run(test, "fair", config(num_servers=1, sessions_per_server=1))


def test_a_crash_ends_its_sessions_and_nothing_else(cluster):
    async def test(pool):
        sessions = [await pool.open(f"s{k}", "a", seed=k) for k in range(4)]
        await sessions[0].step("wait")
        pid = word(sessions[0].result.observation, "pid")
        neighbours = [s for s in sessions[1:] if word(s.result.observation, "pid") == pid]
        others = [s for s in sessions if word(s.result.observation, "pid") != pid]
        assert len(neighbours) == 1 and len(others) == 2
        results = await asyncio.gather(sessions[0].step("crash"), *(s.step("wait") for s in neighbours))
        late = await neighbours[0].step("wait") if not results[1].ended else results[1]
        for result in (results[0], late):
            assert result.status == "environment_lost"
            assert result.truncated
            assert not result.terminated
            assert result.reward == 0
            assert not result.info["success"]
            assert "died" in result.info["reason"]
            assert result.info["task_id"] == "a" and result.info["anchor"]
        for session in others:
            assert (await session.step("wait")).status == "ok"
        replaced = [await pool.open(f"n{k}", "b", seed=k) for k in range(2)]
        assert all(s.result.status == "ok" and word(s.result.observation, "pid") != pid for s in replaced)
        metrics = await pool.metrics()
        assert metrics["lost"] == 2
        assert metrics["replaced"] == 1
        assert metrics["opened"] == 6

    run(test, "crash", config())


def test_a_hanging_step_times_out(cluster):
    async def test(pool):
        session = await pool.open("s", "a", seed=0)
        began = time.monotonic()
        result = await session.step("sleep 600")
        assert time.monotonic() - began < 10
        assert result.status == "environment_lost" and "within 2 s" in result.info["reason"]
        again = await pool.open("t", "a", seed=0)
        assert again.result.status == "ok"

    run(test, "hang", config(step_timeout_s=2.0, num_servers=1))


def test_exceptions_end_one_session_with_their_traceback(cluster):
    async def test(pool):
        one, two = await pool.open("one", "a", seed=0), await pool.open("two", "a", seed=0)
        result = await one.step("raise")
        assert result.status == "environment_error"
        assert result.truncated
        assert result.reward == 0
        assert "ValueError: step went wrong" in result.info["reason"] and "faulty_env.py" in result.info["reason"]
        assert (await two.step("wait")).status == "ok"
        failed = await pool.open("three", "raise", seed=0)
        assert failed.result.status == "environment_error" and "reset went wrong" in failed.result.info["reason"]
        with pytest.raises(UnknownTaskError, match="no task 'nope'"):
            await pool.open("four", "nope", seed=0)
        metrics = await pool.metrics()
        assert metrics["errors"] == 2
        assert metrics["replaced"] == 0
        assert metrics["active"] == 1
        assert metrics["opened"] == 3

    run(test, "raise", config(num_servers=1, sessions_per_server=2))


def test_a_crash_while_opening_is_tried_again_then_reported(cluster):
    async def test(pool):
        session = await pool.open("s", "crash", seed=0)
        assert session.result.status == "environment_lost" and session.result.truncated
        assert (await pool.metrics())["replaced"] == 3
        with pytest.raises(EnvironmentPoolError, match="times in a row"):
            for _ in range(2):
                await pool.open("s", "crash", seed=0)

    run(test, "opening", config(num_servers=1, give_up_after=4))


def test_clients_share_a_pool_and_must_agree(cluster):
    async def test(pool):
        other = await EnvironmentPool.connect_or_create("shared", config())
        await pool.open("s", "a", seed=0)
        assert (await other.metrics())["active"] == 1
        with pytest.raises(ValueError, match="sessions_per_server: asked 5, runs with 2"):
            await EnvironmentPool.connect_or_create("shared", config(sessions_per_server=5))

    run(test, "shared", config())


def test_wrong_settings_show_when_connecting(cluster):
    async def go():
        with pytest.raises(EnvironmentStartError, match="refused to start"):
            await EnvironmentPool.connect_or_create("refuse", config(kwargs={"refuse": True}))
        with pytest.raises(EnvironmentStartError, match="no_such_environment.*webshop|toy"):
            await EnvironmentPool.connect_or_create("none", PoolSettings("no_such_environment"))

    asyncio.run(asyncio.wait_for(go(), 120))
    with pytest.raises(ValueError, match="num_servers must be an integer of at least 1, got 0"):
        config(num_servers=0)


def test_idle_sessions_are_evicted(cluster):
    async def test(pool):
        idle = await pool.open("idle", "a", seed=0)
        following = await asyncio.wait_for(pool.open("following", "a", seed=0), 30)
        assert following.result.status == "ok"
        result = await idle.step("wait")
        assert result.status == "environment_lost" and "idling" in result.info["reason"]
        assert (await pool.metrics())["evicted"] == 1
        assert (await following.step("wait")).status == "ok", "the evicted session's last call must not touch its heir"

    run(test, "idle", config(num_servers=1, sessions_per_server=1, idle_timeout_s=1.5, sweep_interval_s=0.3))


def test_a_swollen_server_is_replaced_between_episodes(cluster):
    async def test(pool):
        session = await pool.open("s", "a", seed=0)
        pid = word(session.result.observation, "pid")
        await session.step("swell 300")
        await asyncio.sleep(1.0)
        assert (await session.step("wait")).status == "ok", "running episodes are not cut"
        await session.step("wait")
        heir = await pool.open("t", "a", seed=0)
        assert word(heir.result.observation, "pid") != pid
        metrics = await pool.metrics()
        assert metrics["recycled"] == 1 and metrics["lost"] == 0

    run(test, "memory", config(num_servers=1, sweep_interval_s=0.2, memory_limit_mib=300))


def test_a_run_limits_the_memory_of_its_servers():
    assert pool_settings(EnvironmentSettings()).memory_limit_mib == 4096.0
    assert pool_settings(EnvironmentSettings(memory_limit_mib=700.0)).memory_limit_mib == 700.0
    assert pool_settings(EnvironmentSettings(memory_limit_mib=None)).memory_limit_mib is None
    with pytest.raises(ValueError, match="memory_limit_mib must be None or positive MiB, got 0"):
        PoolSettings("toy", memory_limit_mib=0)


READS_A_FILE = """
import mmap, sys
from siri_verl.envs.servers.process import private_memory_mib
start = private_memory_mib()
with open(sys.argv[1], "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as pages:
    sum(pages[k] for k in range(0, len(pages), 4096))
    read = private_memory_mib()
    held = b"x" * len(pages)
    print(read - start, private_memory_mib() - start)
"""


def test_files_that_are_only_read_do_not_count_as_a_servers_memory(tmp_path):
    file = tmp_path / "catalogue.bin"
    file.write_bytes(bytes(64 << 20))
    # A process of its own: this one may hold freed memory that it hands out again.
    command = [sys.executable, "-c", READS_A_FILE, str(file)]
    read, held = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert read < 32 < held


def test_webshop_plays_the_same_in_every_server(cluster, shop_store, shop):
    task = next(goal.id for goal in shop.goals.values() if "navy" in goal.instruction)
    actions = ["search[navy oxford shirt]", "click[b000000001]", "click[small]", "click[navy | blue]", "click[buy now]"]

    async def test(pool):
        sessions = [await pool.open(f"s{k}", task, seed=0) for k in range(4)]
        assert (await pool.metrics())["servers"] == 2
        for action in actions:
            answers = await asyncio.gather(*(session.step(action) for session in sessions))
            assert all(answer == answers[0] for answer in answers), "frozen results compare by value"
        assert all(a.reward == 1.0 and a.terminated and a.info["success"] and a.status == "ok" for a in answers)

    settings = PoolSettings("webshop", {"store": str(shop_store)}, num_servers=2, sessions_per_server=2)
    run(test, "webshop", settings)

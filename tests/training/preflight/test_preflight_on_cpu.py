# SPDX-License-Identifier: Apache-2.0
"""Wrong inputs fail before workers start, with the field, its value and the fix."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bad_tasks import NAME as BAD_TASKS
from support.tiny_model import make_tiny_model

from siri_verl import failures
from siri_verl.envs.panels import Panel, dataset_rows, make_panel, write_dataset
from siri_verl.failures import ConfigError


def refuses(check, *overrides, **says):
    """The error's text; `says` are the field, its value, and words of the fix."""
    with pytest.raises(ConfigError) as error:
        check(*overrides)
    text = str(error.value)
    for part in (says["field"], says["value"], says["fix"]):
        assert part in text, text
    return text


def panel_file(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_the_toy_run_is_fine(check):
    check()


@pytest.mark.parametrize("field", ["data.train_files", "data.val_files"])
def test_missing_panel_file(check, tmp_path, field):
    file = tmp_path / "none.parquet"
    refuses(check, f"{field}={file}", field=field, value=str(file), fix="siri-verl data panel")


def test_panel_file_that_is_not_parquet(check, tmp_path):
    file = tmp_path / "panel.parquet"
    make_panel("toy", {}, "train").write(file)  # the panel itself, not the file written from it
    refuses(check, f"data.train_files={file}", field="data.train_files", value=str(file), fix="siri-verl data panel")


@pytest.mark.parametrize("column", ["task_id", "environment", "split"])
def test_missing_column(check, tmp_path, column):
    rows = dataset_rows(make_panel("toy", {}, "train"))
    file = panel_file(tmp_path / "t.parquet", [{k: v for k, v in row.items() if k != column} for row in rows])
    text = refuses(check, f"data.train_files={file}", field="data.train_files", value=str(file), fix="data panel")
    assert f"column {column!r} is missing" in text


@pytest.mark.parametrize("value", [None, ""])
def test_row_without_a_task_is_named_by_its_number(check, tmp_path, value):
    rows = dataset_rows(make_panel("toy", {}, "train"))
    rows[7]["task_id"] = value
    file = panel_file(tmp_path / "t.parquet", rows)
    text = refuses(check, f"data.train_files={file}", field="data.train_files", value=repr(value), fix="data panel")
    assert "row 7" in text


def test_panel_that_holds_a_task_twice(check, tmp_path):
    rows = dataset_rows(make_panel("toy", {}, "train"))
    file = panel_file(tmp_path / "t.parquet", rows + rows[3:4])
    value = repr(rows[3]["task_id"])
    refuses(check, f"data.train_files={file}", field="data.train_files", value=value, fix="data panel")


def test_empty_panel(check, tmp_path):
    file = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(dataset_rows(make_panel("toy", {}, "train"))).slice(0, 0), file)
    refuses(check, f"data.val_files={file}", field="data.val_files", value=str(file), fix="data panel")


def test_panel_of_another_environment(check, tmp_path):
    file = write_dataset(Panel("webshop", ("goal-1",)), tmp_path / "t.parquet")
    text = refuses(check, f"data.train_files={file}", field="data.train_files", value="'webshop'", fix="give a panel")
    assert "siri.environment.name='toy'" in text


def test_unknown_environment_lists_the_known_ones(check):
    refuses(check, "siri.environment.name=shop", field="siri.environment.name", value="'shop'", fix="toy, webshop")


def test_overlapping_panels(check, tmp_path):
    shared = make_panel("toy", {}, "train").task_ids[5]
    both = Panel("toy", (*make_panel("toy", {}, "validation").task_ids, shared), split="validation")
    given = f"data.val_files={write_dataset(both, tmp_path / 'v.parquet')}"
    refuses(check, given, field="data.val_files", value=repr(shared), fix="disjoint")


def test_tasks_the_environment_does_not_know(check, tmp_path):
    file = write_dataset(Panel("toy", ("toy-coin-shelf-moon",)), tmp_path / "v.parquet")
    given = f"data.val_files={file}"
    refuses(check, given, field="data.val_files", value="'toy-coin-shelf-moon'", fix="siri.environment.kwargs")


@pytest.mark.parametrize(
    "overrides", [["data.train_batch_size=49"], ["data.train_batch_size=8", "data.train_max_samples=7"]]
)
def test_batch_larger_than_the_panel(check, overrides):
    tasks = "48" if len(overrides) == 1 else "7"
    text = refuses(check, *overrides, field="data.train_batch_size", value=overrides[0][-1], fix="at most")
    assert f"{tasks} tasks" in text


@pytest.mark.parametrize("estimator", ["gigpo", "grpo", "rloo"])
def test_groups_of_one(check, estimator):
    overrides = [f"algorithm.adv_estimator={estimator}", "actor_rollout_ref.rollout.n=1"]
    text = refuses(check, *overrides, field="actor_rollout_ref.rollout.n", value="=1", fix="at least 2")
    assert estimator in text


def test_estimators_without_groups_take_groups_of_one(check):
    check("algorithm.adv_estimator=reinforce_plus_plus", "actor_rollout_ref.rollout.n=1", "siri.phases.fixed=warm_up")


@pytest.mark.parametrize("estimator", ["gigpo", "grpo"])
def test_kl_in_the_reward(check, estimator):
    given = ["algorithm.use_kl_in_reward=True", f"algorithm.adv_estimator={estimator}"]
    refuses(check, *given, field="algorithm.use_kl_in_reward", value="True", fix="actor.use_kl_loss=True")


@pytest.mark.parametrize("estimator", ["gipo", "remax"])
def test_unknown_estimator_lists_the_known_ones(check, estimator):
    given = f"algorithm.adv_estimator={estimator}"
    refuses(check, given, field="algorithm.adv_estimator", value=repr(estimator), fix="gigpo, gae, grpo")


def test_prompt_length_too_small_for_the_first_observation(check):
    given = ["data.max_prompt_length=60", "siri.phases.fixed=warm_up"]  # no mining prompt, which is longer
    text = refuses(check, *given, field="data.max_prompt_length", value="=60", fix="raise it")
    assert "task 'toy-" in text and "tokens" in text


def test_agent_loop_without_the_siri_worker(check):
    given = "actor_rollout_ref.rollout.agent.agent_loop_manager_class=verl.trainer.ppo.v1.AgentLoopManagerTQ"
    refuses(check, given, field="agent_loop_manager_class", value="AgentLoopManagerTQ", fix="SiriAgentLoopManager")


def test_model_without_a_tokenizer_or_a_chat_template(check, inputs, tmp_path):
    (tmp_path / "empty").mkdir()
    given = f"actor_rollout_ref.model.path={tmp_path}/empty"
    refuses(check, given, field="actor_rollout_ref.model.path", value="empty", fix="Hugging Face")
    bare = make_tiny_model(tmp_path / "bare")
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        if (bare / name).exists() and name.endswith("jinja"):
            (bare / name).unlink()
        elif (bare / name).exists():
            settings = json.loads((bare / name).read_text())
            settings.pop("chat_template", None)
            (bare / name).write_text(json.dumps(settings))
    given = f"actor_rollout_ref.model.path={bare}"
    refuses(check, given, field="actor_rollout_ref.model.path", value="bare", fix="custom_chat_template")


def test_webshop_without_a_prepared_store(check, inputs, tmp_path):
    files = {
        name: write_dataset(Panel("webshop", (f"goal-{name}",)), tmp_path / f"{name}.parquet") for name in ("a", "b")
    }
    given = [f"data.train_files={files['a']}", f"data.val_files={files['b']}", "data.train_batch_size=1"]
    given += ["siri.environment.name=webshop"]
    text = refuses(check, *given, field="siri.environment.name", value="'store'", fix="siri-verl data webshop")
    given += [f"siri.environment.kwargs.store={tmp_path}/nothing"]
    text = refuses(check, *given, field="siri.environment", value=f"{tmp_path}/nothing", fix="siri-verl data webshop")
    assert "manifest.json" in text


def test_a_plugin_that_failed_stops_the_run_and_says_why(check, monkeypatch):
    monkeypatch.setattr(failures, "FAILURES", [failures.Failure("light_rollout", ImportError("no such thing"))])
    with pytest.raises(failures.PluginError, match="light_rollout: ImportError: no such thing"):
        check()


def test_unsupported_verl_is_refused_loudly_and_registers_nothing(tmp_path):
    # A verl distribution of another version, found first, as an upgrade would leave it.
    folder = tmp_path / "verl-0.10.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: verl\nVersion: 0.10.0\n")
    code = "import verl, verl.trainer.ppo.core_algos as c; print('gigpo' in c.ADV_ESTIMATOR_REGISTRY)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0 and result.stdout.strip().endswith("False"), result.stderr
    for part in ("verl 0.10.0 is installed", "supports verl>=0.9.1,<0.10", "pip install 'verl>=0.9.1,<0.10'"):
        assert part in result.stdout + result.stderr


def test_sglang_takes_no_seed_with_a_request(check):
    refuses(
        check,
        "actor_rollout_ref.rollout.name=sglang",
        field="siri.rollout.request_seeds",
        value="True",
        fix="set it to False",
    )


@pytest.mark.parametrize("bad, refuses", [(["t0"], False), ([f"t{k}" for k in range(12)], True)])
def test_a_task_that_cannot_be_started_is_named_and_many_are_refused(check, refused, tmp_path, caplog, bad, refuses):
    for name, tasks in (("train", ("t0", "t1", "t2")), ("val", ("t3", "t4"))):
        write_dataset(Panel(BAD_TASKS, tasks), tmp_path / f"{name}.parquet")
    overrides = [
        f"siri.environment.name={BAD_TASKS}",
        f"siri.environment.kwargs={{bad: {{{', '.join(f'{task}: reset' for task in bad)}}}}}",
        f"data.train_files={tmp_path}/train.parquet",
        f"data.val_files={tmp_path}/val.parquet",
        *("data.train_batch_size=2", "actor_rollout_ref.actor.ppo_mini_batch_size=1", "trainer.total_epochs=1000"),
    ]
    if refuses:
        assert "5 of the 5 tasks tried cannot be played" in refused(*overrides)
    else:
        check(*overrides)
        assert "t0 cannot be played and does not count: ValueError: this task's file is damaged" in caplog.text

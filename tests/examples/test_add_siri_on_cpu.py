# SPDX-License-Identifier: Apache-2.0
"""The tool-agent pipeline before and after: its commands compose, its loop plays, the README shows the real diff."""

import json
import re
import subprocess

import pandas
import pytest
from support.example_runs import EXAMPLES, config_of, dry_run, example, play
from support.tiny_model import make_tiny_model

from siri_verl.core.segments import runs
from siri_verl.rollout.complete_rows import complete_rows
from siri_verl.settings.read import siri_settings
from siri_verl.skills.text import skill_block
from siri_verl.training.dataset_tasks import dataset_tasks
from siri_verl.training.preflight.run import preflight
from siri_verl.training.turn_table import build_turns

FOLDER = EXAMPLES / "add_siri_to_a_pipeline"
PLAIN = {"partition": "train", "arm": "plain", "skill_id": "", "skill_text": ""}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Data and tokenizer, without teaching a model."""
    prepare = example("add_siri_to_a_pipeline", "prepare")
    folder = tmp_path_factory.mktemp("inputs")
    for name, validation in (("train", False), ("validation", True)):
        pandas.DataFrame(prepare.dataset_rows(validation)).to_parquet(folder / f"{name}.parquet")
    player = example("lib", "player")
    texts = [m["content"] for messages, _ in prepare.lessons() for m in messages]
    return prepare, folder, player.make_tokenizer([*texts, *(reply for _, reply in prepare.lessons())])


def tools():
    from verl.tools.tool_registry import load_all_tools

    return load_all_tools(str(FOLDER / "tools.yaml"), None)


def deliver(prepared, variant, replies, **columns):
    prepare, _, tokenizer = prepared
    config = config_of("add_siri_to_a_pipeline", variant)
    row = prepare.dataset_rows(False)[0]  # Ada, room 1
    columns = {"raw_prompt": row["prompt"], "task_id": row["task_id"], "uid": "u", "session_id": 0, **columns}
    loop = example(f"add_siri_to_a_pipeline/{variant}", "loop").PostRoomLoop
    return play(
        loop, config, tokenizer, replies, tools(), tools_kwargs=row["extra_info"]["tools_kwargs"],
        extra_info=row["extra_info"], global_steps=3, **columns,
    )  # fmt: skip


def replies_of(prepared, *rooms):
    call = prepared[0].call
    return [call("ask", who="board"), *(call("deliver", room=room) for room in rooms), "done"]


def test_the_readme_shows_the_real_diff():
    shown = re.findall(r"^```diff\n(.*?)^```$", (FOLDER / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for file, block in zip(("loop.py", "train.sh"), shown, strict=True):
        done = subprocess.run(
            ["diff", "-U1", "--label", f"before/{file}", "--label", f"after/{file}", f"before/{file}", f"after/{file}"],
            cwd=FOLDER, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1 and block == done.stdout, f"write into the README:\n{done.stdout}"


def test_before_is_verls_own_trainer_and_after_is_sirs(prepared, tmp_path):
    before, after = config_of("add_siri_to_a_pipeline", "before"), config_of("add_siri_to_a_pipeline")
    assert before.trainer.v1.trainer_mode == "sync" and "siri" not in before
    assert after.trainer.v1.trainer_mode == "siri" and siri_settings(after).tasks == "dataset"
    for key in ("train_files", "max_prompt_length", "train_batch_size"):
        assert before.data[key] == after.data[key]
    files = [f"data.{name}_files={prepared[1]}/{file}.parquet" for name, file in (("train", "train"),
                                                                                 ("val", "validation"))]  # fmt: skip
    model = f"actor_rollout_ref.model.path={make_tiny_model(tmp_path / 'model')}"
    config = config_of("add_siri_to_a_pipeline", "after", *files, model)
    preflight(config, siri_settings(config))
    tasks = dataset_tasks(config)
    assert tasks.train["Ada-1"] == "Deliver the parcel for Ada."
    assert len(tasks.train) == 12
    assert len(tasks.all) == 16


def test_an_unknown_variant_is_refused():
    done = subprocess.run(["bash", str(FOLDER / "run.sh"), "during"], capture_output=True, text=True)
    assert done.returncode == 1 and "during: use before, gigpo or after" in done.stderr
    assert dry_run("add_siri_to_a_pipeline", "after", "a=b")[-1] == "a=b"


def test_before_is_verls_tool_agent(prepared):
    output, policy = deliver(prepared, "before", replies_of(prepared, "1"))
    assert output.reward_score == 1.0 and output.extra_fields["tool_rewards"] == [0.0, 1.0]
    assert "The board says Ada sits in room 1." in policy.prompts[1] and "signs for the parcel" in policy.prompts[2]
    assert len(runs(output.response_mask)) == 3


def test_after_states_turns_for_gigpo_in_verls_own_modes_too(prepared):
    # under verl's own workers, which hand over no columns of SIRI
    output, policy = deliver(prepared, "after", replies_of(prepared, "2", "1"))
    assert "procedure" not in policy.prompts[0]
    turns = build_turns(["u_0_0"], [{}], [output.extra_fields], [output.response_mask]).table
    assert turns.anchor == [
        "Deliver the parcel for Ada.",
        "The board says Ada sits in room 1.",
        "Nobody called Ada sits here.",
        "Ada signs for the parcel.",
    ]
    assert turns.reward.tolist() == [0.0, 0.0, 1.0, 0.0] and turns.valid.all()


def test_a_call_that_verl_refuses_is_a_turn_with_its_answer(prepared):
    unknown = '<tool_call>{"name": "sing", "arguments": {}}</tool_call>'
    output, _ = deliver(prepared, "after", [unknown, *replies_of(prepared, "1")])
    fields = output.extra_fields
    anchors = fields["anchors"]
    assert anchors[1].startswith("Unknown function 'sing'") and anchors[2] == "The board says Ada sits in room 1."
    assert fields["turn_rewards"][:3] == [0.0, 0.0, 1.0]
    assert len(anchors) == len(fields["turn_rewards"]) == len(fields["transcript"]) == len(runs(output.response_mask))


def test_a_reply_without_a_tool_call_ends_the_episode(prepared):
    output, _ = deliver(prepared, "after", ["room 1"])
    assert output.reward_score == 0
    assert output.extra_fields["anchors"] == ["Deliver the parcel for Ada."] and output.extra_fields["valids"] == [
        False
    ]


def test_the_skill_arm_is_cut_into_turns_with_their_plain_prompts(prepared):
    tokenizer, replies = prepared[2], replies_of(prepared, "1")
    block = skill_block("a parcel is to be delivered", "ask the board where to go")
    columns = {"partition": "train", "arm": "skill", "skill_id": "s0001", "skill_text": block}
    shown, policy = deliver(prepared, "after", replies, **columns)
    plain, plain_policy = deliver(prepared, "after", replies, **PLAIN)
    assert all(block in prompt for prompt in policy.prompts)
    rows = complete_rows([shown], {**columns, "uid": "u", "session_id": 4, "task_id": "Ada-1"}, tokenizer, 1.0)
    twins = complete_rows([plain], {**PLAIN, "uid": "u", "session_id": 0, "task_id": "Ada-1"}, tokenizer, 1.0)
    assert len(rows) == len(twins) == 3
    for k, (row, twin) in enumerate(zip(rows, twins, strict=True)):
        fields = row.extra_fields
        assert tokenizer.decode(row.prompt_ids) == policy.prompts[k] and block in policy.prompts[k]
        # a skill turn's plain prompt is the prompt of the same turn in the plain arm
        assert fields["plain_prompt_ids"] == twin.prompt_ids and twin.extra_fields["plain_prompt_ids"] is None
        assert tokenizer.decode(twin.prompt_ids) == plain_policy.prompts[k]
        assert tokenizer.decode(row.response_ids, skip_special_tokens=True) == replies[k]
        assert row.response_mask == [1] * len(row.response_ids) == [1] * len(row.response_logprobs)
        action = row.response_ids[fields["span_start"] : fields["span_end"]]
        assert tokenizer.decode(action, skip_special_tokens=True) == replies[k]
        assert fields["success"] is True
        assert fields["arm"] == "skill"
        assert fields["task_id"] == "Ada-1"
    assert [row.extra_fields["anchor"] for row in rows] == [row.extra_fields["anchor"] for row in twins]
    assert [row.extra_fields["transcript"] is None for row in rows] == [True, True, False]
    assert rows[-1].extra_fields["reward_extra_info"]["success"] == 1.0
    assert json.loads(replies[0][len("<tool_call>") : -len("</tool_call>")])["arguments"] == {"who": "board"}

# SPDX-License-Identifier: Apache-2.0
"""What a reader can check: no bank text in validation prompts, and the arms' prompts on disk. Rows lie in a real
TransferQueue."""

import pytest
import torch
from support.tiny_model import make_tokenizer
from tensordict import NonTensorStack, TensorDict

from siri_verl.core.pairing import PLAIN, SKILL, TreatmentEffect
from siri_verl.core.rules import RETIRED, UtilitySettings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Provenance
from siri_verl.training.prompt_log import SkillInValidationError, check_validation_prompts, write_arm_prompts
from siri_verl.training.step_table import StepTable
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings
from siri_verl.trajectory.turn import TurnView

TOKENIZER = make_tokenizer()
VIEW = TurnView("put the coin in the shelf", "you are in the hall. a note: look in the attic.", ("go attic", "go hall"))
STRATEGY = "read the note and go where it says"


def bank():
    made = SkillBank(utility=UtilitySettings(n_eval=1, retire_after=1))
    made.add("a note is there", STRATEGY, "coin", Provenance("", "", 0, "hand"), control="click , then look around")
    made.add("you are late", "take the lamp", "lamp", Provenance("", "", 0, "hand"))  # a short strategy
    return made


def put(tq, partition, texts, fields=None, replies=None):
    keys = [f"{partition}{number}_0_0" for number in range(len(texts))]
    columns = {"prompts": texts, "responses": replies or texts}
    content = {
        name: torch.nested.as_nested_tensor([torch.tensor(TOKENIZER.encode(t)) for t in column], layout=torch.jagged)
        for name, column in columns.items()
    }
    content["extra_fields"] = NonTensorStack(*(fields or [{}] * len(texts)))
    tq.kv_batch_put(
        keys=keys,
        partition_id=partition,
        fields=TensorDict(content, batch_size=len(keys)),
        tags=[{}] * len(keys),
    )
    return keys


def rendered(template="full", skill=None):
    builder = PromptBuilder(TOKENIZER, PromptSettings(template=template), 4000)
    view = VIEW if skill is None else TurnView(VIEW.task, VIEW.observation, VIEW.admissible_actions, skill_text=skill)
    return TOKENIZER.decode(builder.build(view).token_ids)


@pytest.mark.parametrize("template", ["full", "compact"])
def test_plain_validation_prompts_pass(transfer_queue, template):
    keys = put(transfer_queue, "val", [rendered(template)] * 3)
    assert check_validation_prompts(keys, bank(), TOKENIZER) == 3


@pytest.mark.parametrize("template", ["full", "compact"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_skill_section_in_validation_fails_and_names_skill_and_row(transfer_queue, template, number):
    made = bank()
    skill = list(made.skills.values())[number]
    keys = put(transfer_queue, "val", [rendered(template), rendered(template, skill.block)])
    with pytest.raises(SkillInValidationError, match=f"row {keys[1]}.*{skill.skill_id}"):
        check_validation_prompts(keys, made, TOKENIZER)


@pytest.mark.parametrize("text", [STRATEGY, "click , then look around"])
def test_bank_text_smuggled_in_without_its_section_fails_too(transfer_queue, text):
    smuggled = rendered().replace("you are in the hall.", f"you are in the hall. {text}")
    keys = put(transfer_queue, "val", [rendered(), rendered(), smuggled])
    with pytest.raises(SkillInValidationError, match="s0001"):
        check_validation_prompts(keys, bank(), TOKENIZER)


def test_a_strategy_that_says_what_the_task_says_is_no_leak_without_its_section(transfer_queue):
    made = bank()
    made.add("you are late", "Put the coin in the shelf.", "coin", Provenance("", "", 0, "hand"))
    prompt = rendered().replace(VIEW.task, "put the coin in the shelf .")
    made.skills["s0003"].strategy = "put the coin in the shelf ."
    keys = put(transfer_queue, "val", [prompt], [{"task": VIEW.task}])
    assert check_validation_prompts(keys, made, TOKENIZER) == 1
    keys = put(transfer_queue, "val", [prompt], [{"task": "find the lamp"}])
    with pytest.raises(SkillInValidationError, match="s0003"):
        check_validation_prompts(keys, made, TOKENIZER)


def test_a_retired_skills_text_counts(transfer_queue):
    made = bank()
    made.record(TreatmentEffect("g", "s0001", -0.5, 0.0, 0.5, 2, 2, ""), "t", 1)
    assert made["s0001"].status == RETIRED
    keys = put(transfer_queue, "val", [rendered(skill=made["s0001"].block)])
    with pytest.raises(SkillInValidationError, match="s0001"):
        check_validation_prompts(keys, made, TOKENIZER)


def test_an_empty_bank_has_nothing_to_find(transfer_queue):
    keys = put(transfer_queue, "val", [rendered(skill=f"When a note is there: {STRATEGY}")])
    assert check_validation_prompts(keys, SkillBank(), TOKENIZER) == 0


def arms(tq, twin, shown=True):
    """A paired group of two sessions, and a group without a skill before it."""
    skill = f"When a note is there: {STRATEGY}"
    texts = [rendered(), rendered(), rendered(skill=skill) if shown else rendered()]
    row = {"anchor": "a", "turn_reward": 0.0, "valid": True, "task_id": "toy-coin", "arm": PLAIN, "skill_id": ""}
    fields = [
        row,
        row,
        {**row, "arm": SKILL, "skill_id": "s0001", "skill_missing": not shown, "plain_prompt_ids": twin},
    ]
    put(tq, "train", texts, fields, ["reply a", "reply b", "reply c"])
    content = tq.kv_batch_get(keys=[f"train{k}_0_0" for k in range(3)], partition_id="train")
    keys = ["x_0_0", "y_0_0", "y_1_0"]
    tq.kv_batch_put(keys=keys, partition_id="train", fields=content, tags=[{}] * 3)
    return StepTable.fetch(keys, [{}] * 3)


def test_prompts_of_both_arms_are_written(transfer_queue, tmp_path):
    twin = TOKENIZER.encode(rendered())
    path = write_arm_prompts(arms(transfer_queue, twin), TOKENIZER, tmp_path / "prompts", 7)
    assert path == tmp_path / "prompts" / "step_00007.txt"
    parts = path.read_text().split("=== ")
    assert parts[0].startswith("step 7, task toy-coin, skill s0001")
    labels = [
        "plain arm: prompt",
        "plain arm: reply",
        "skill arm: prompt",
        "skill arm: reply",
        "skill arm: the plain prompt",
    ]
    assert all(part.startswith(label) for part, label in zip(parts[1:], labels, strict=True))
    assert [STRATEGY in part for part in parts[1:]] == [False, False, True, False, False]
    assert "reply b" in parts[2] and "reply c" in parts[4]
    # what the action is internalized on is the plain arm's own prompt
    assert parts[5].split("\n", 1)[1].strip() == parts[1].split("\n", 1)[1].strip() == rendered().strip()


def test_a_turn_whose_skill_did_not_fit_says_so(transfer_queue, tmp_path):
    path = write_arm_prompts(arms(transfer_queue, None, shown=False), TOKENIZER, tmp_path, 1)
    assert "did not fit" in path.read_text()


def test_without_a_paired_group_nothing_is_written(transfer_queue, tmp_path):
    table = arms(transfer_queue, None)
    assert write_arm_prompts(table.take([0, 1]), TOKENIZER, tmp_path, 1) is None
    assert not list(tmp_path.iterdir())

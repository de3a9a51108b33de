# SPDX-License-Identifier: Apache-2.0
"""Checks of the prompts: those of both arms are written to disk, and no validation prompt contains bank text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.files import write_text_atomically
from siri_verl.skills.bank import SkillBank
from siri_verl.training import queue
from siri_verl.training.step_table import StepTable


class SkillInValidationError(RuntimeError):
    """A validation prompt contains text of the skill bank."""


def write_arm_prompts(table: StepTable, tokenizer: Any, folder: Path, step: int) -> Path | None:
    """Write the first prompt and reply of both arms of one paired group, and the skill turn's plain prompt.

    Returns:
        The file; None when the step has no paired group.
    """
    first = table.real & (table.turn == 0)
    in_skill = np.flatnonzero(first & (table.arm == SKILL))
    if not len(in_skill):
        return None
    skill_row = int(in_skill[0])
    same = first & (table.group == table.group[skill_row]) & (table.arm == PLAIN)
    rows = [int(np.flatnonzero(same)[0]), skill_row]
    keys = [table.keys[i] for i in rows]
    prompts = queue.get_texts(keys, "train", "prompts", tokenizer)
    replies = queue.get_texts(keys, "train", "responses", tokenizer)
    plain_prompt = queue.get_extra_fields([keys[1]], "train")[0]["plain_prompt_ids"]
    parts = [
        f"step {step}, task {table.task_id[skill_row]}, skill {table.skill_id[skill_row]}",
        f"=== plain arm: prompt\n{prompts[0]}",
        f"=== plain arm: reply\n{replies[0]}",
        f"=== skill arm: prompt\n{prompts[1]}",
        f"=== skill arm: reply\n{replies[1]}",
        f"=== skill arm: the plain prompt its action is internalized on\n{_plain_prompt_text(plain_prompt, tokenizer)}",
    ]
    path = folder / f"step_{step:05d}.txt"
    write_text_atomically(path, "\n\n".join(parts) + "\n")
    return path


def _plain_prompt_text(ids: Sequence[int] | None, tokenizer: Any) -> str:
    return "(none: the skill did not fit into this prompt)" if ids is None else tokenizer.decode(ids)


def check_validation_prompts(keys: Sequence[str], bank: SkillBank, tokenizer: Any) -> int:
    """Check that no prompt of a validation batch contains bank text.

    Returns:
        The number of prompts checked.

    Raises:
        SkillInValidationError: one does; the message names the skill and the row.
    """
    if not len(bank):
        return 0
    tasks = [str(row.get("task", "")) for row in queue.get_extra_fields(keys, "val")]
    for key, text, task in zip(keys, queue.get_texts(keys, "val", "prompts", tokenizer), tasks, strict=True):
        found = bank.find_in(text, task)
        if found:
            raise SkillInValidationError(
                f"validation row {key}: the prompt contains skill {found}; validation must use the plain prompt "
                "(siri.control.skills_in_prompt=true allows it for that control run)"
            )
    return len(keys)

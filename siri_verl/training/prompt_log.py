# SPDX-License-Identifier: Apache-2.0
"""What a reader can check: prompts of both arms on disk, and no bank text in a validation prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.files import write_text_atomically
from siri_verl.skills.bank import SkillBank
from siri_verl.training.step_table import StepTable, plain_fields


class SkillInValidationError(RuntimeError):
    """A validation prompt contains text of the skill bank."""


def texts_of(keys: Sequence[str], partition_id: str, field: str, tokenizer: Any) -> list[str]:
    """A column of token ids of rows in TransferQueue (`prompts`, `responses`), decoded."""
    import transfer_queue as tq

    data = tq.kv_batch_get(keys=list(keys), partition_id=partition_id, select_fields=[field])
    return [tokenizer.decode(ids, skip_special_tokens=False) for ids in data[field].unbind()]


def write_arm_prompts(table: StepTable, tokenizer: Any, folder: Path, step: int) -> Path | None:
    """Write prompt and reply of the same turn of one paired task's arms, and the skill turn's plain prompt.

    Returns:
        The file; None when the step has no paired group.
    """
    import transfer_queue as tq

    first = table.real & (table.turn == 0)
    in_skill = np.flatnonzero(first & (table["arm"] == SKILL))
    if not len(in_skill):
        return None
    skill_row = int(in_skill[0])
    same = first & (table.group == table.group[skill_row]) & (table["arm"] == PLAIN)
    rows = [int(np.flatnonzero(same)[0]), skill_row]
    keys = [table.keys[i] for i in rows]
    prompts = texts_of(keys, "train", "prompts", tokenizer)
    replies = texts_of(keys, "train", "responses", tokenizer)
    fields = tq.kv_batch_get(keys=[keys[1]], partition_id="train", select_fields=["extra_fields"])["extra_fields"]
    twin = getattr(list(fields)[0], "data", list(fields)[0])["plain_prompt_ids"]
    parts = [
        f"step {step}, task {table['task_id'][skill_row]}, skill {table['skill_id'][skill_row]}",
        f"=== plain arm: prompt\n{prompts[0]}",
        f"=== plain arm: reply\n{replies[0]}",
        f"=== skill arm: prompt\n{prompts[1]}",
        f"=== skill arm: reply\n{replies[1]}",
        f"=== skill arm: the plain prompt its action is internalized on\n{_twin_text(twin, tokenizer)}",
    ]
    path = folder / f"step_{step:05d}.txt"
    write_text_atomically(path, "\n\n".join(parts) + "\n")
    return path


def _twin_text(ids: Sequence[int] | None, tokenizer: Any) -> str:
    return "(none: the skill did not fit into this prompt)" if ids is None else tokenizer.decode(ids)


def check_validation_prompts(keys: Sequence[str], bank: SkillBank, tokenizer: Any) -> int:
    """Every prompt of a validation batch is free of bank text.

    Returns:
        The number of prompts looked at.

    Raises:
        SkillInValidationError: one is not; names the skill and the row.
    """
    import transfer_queue as tq

    if not len(bank):
        return 0
    data = tq.kv_batch_get(keys=list(keys), partition_id="val", select_fields=["extra_fields"])
    tasks = [str(row.get("task", "")) for row in plain_fields(data["extra_fields"])]
    for key, text, task in zip(keys, texts_of(keys, "val", "prompts", tokenizer), tasks, strict=True):
        found = bank.find_in(text, task)
        if found:
            raise SkillInValidationError(
                f"validation row {key}: the prompt contains skill {found}; validation must use the plain prompt "
                "(siri.control.skills_in_prompt=true allows it for that control run)"
            )
    return len(keys)

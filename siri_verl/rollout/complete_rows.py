# SPDX-License-Identifier: Apache-2.0
"""From what an agent loop returns to the rows SIRI learns from: one per turn, with every field.

A row that holds a whole trajectory is cut at the runs of ones of its response mask: each turn's prompt is then the
conversation up to it. Fields that the loop need not state (arm, action span, success) are filled in; a required field
that is missing is an error that shows the line to add (docs/your_agent_loop.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from siri_verl.core.pairing import PLAIN
from siri_verl.core.segments import runs
from siri_verl.envs.replies import ACTION
from siri_verl.rollout import row_contract
from siri_verl.rollout.row_contract import SPANS, RowContractError, holds_trajectory, split_fields
from siri_verl.rollout.stated_values import check_stated
from siri_verl.trajectory.action_span import action_span
from siri_verl.trajectory.turn import Status

TOOL_CALL = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)


def one_row_per_turn(output: AgentLoopOutput) -> list[AgentLoopOutput]:
    """A trajectory in one row as one row per turn.

    Raises:
        RowContractError: it holds images, video or audio, whose place in the turns is not known.
        TurnCountError: its lists do not fit its response mask.
    """
    if any((output.multi_modal_data or {}).values()):
        raise RowContractError(
            "a trajectory with images, video or audio cannot be cut into turns; return one row per turn"
        )
    pieces = runs(output.response_mask)
    fields = dict(output.extra_fields)
    spans, plain = fields.pop(SPANS, None), fields.pop("plain_prompt_ids", None)
    stated = split_fields("of the agent loop", fields, len(pieces))
    if spans is not None and len(spans) != len(pieces):
        raise RowContractError(f"{SPANS} has {len(spans)} entries for {len(pieces)} turns; give one per turn")
    rows = []
    for number, ((start, end), of_turn) in enumerate(zip(pieces, stated, strict=True)):
        before = output.response_ids[:start]
        changed: dict[str, Any] = {
            "prompt_ids": [*output.prompt_ids, *before],
            "response_ids": output.response_ids[start:end],
            "response_mask": output.response_mask[start:end],
            "extra_fields": {**of_turn, "plain_prompt_ids": None if plain is None else [*plain, *before]},
        }
        if output.response_logprobs is not None:
            changed["response_logprobs"] = output.response_logprobs[start:end]
        if output.routed_experts is not None:
            changed["routed_experts"] = output.routed_experts[: len(output.prompt_ids) + end]
        if spans is not None:
            changed["extra_fields"] |= {"span_start": spans[number][0], "span_end": spans[number][1]}
        rows.append(output.model_copy(update=changed))
    return rows


def complete_rows(
    outputs: Sequence[AgentLoopOutput], columns: Mapping[str, Any], tokenizer: Any, success_reward: float
) -> list[AgentLoopOutput]:
    """The rows of one session, complete.

    Args:
        outputs: what the loop returned, scored where a reward function scores it.
        columns: what the worker handed to the loop: task_id, arm, skill_id and so on.
        tokenizer: the policy's; finds actions.
        success_reward: `siri.reward.success_reward`.

    Raises:
        RowContractError, TurnCountError: what is missing or of another type, and the line to add.
    """
    name = f"{columns.get('uid')}_{columns.get('session_id')}"
    if len(outputs) == 1 and holds_trajectory(outputs[0].extra_fields):
        outputs = one_row_per_turn(outputs[0])
    rows = list(outputs)
    if not rows:
        return rows
    for turn, row in enumerate(rows):
        check_stated(f"{name}_{turn}", row.extra_fields)
    last = rows[-1].extra_fields
    task_id = str(last.get("task_id") or columns.get("task_id", columns.get("index", "")))
    arm, skill_id = str(columns.get("arm", PLAIN)), str(columns.get("skill_id", ""))
    for field, line in _REQUIRED_LAST.items():
        if last.get(field) is None:
            raise RowContractError(f"row {name}: its last row states no {field!r}; add\n    {line}")
    success = _success(rows, name, success_reward)
    missing = any(bool(row.extra_fields.get("skill_missing", False)) for row in rows)
    for turn, row in enumerate(rows):
        fields = row.extra_fields
        for field in row_contract.REQUIRED:
            if fields.get(field) is None:
                raise RowContractError(
                    row_contract.MISSING_ANCHORS.format(count=1, rows=len(rows), field=field, key=f"{name}_{turn}")
                )
        plain = fields.get("plain_prompt_ids")
        if skill_id and plain is None and not fields.get("skill_missing", False):
            raise RowContractError(
                f"row {name}_{turn}: shows skill {skill_id} and states no 'plain_prompt_ids'; add\n"
                "    output.extra_fields['plain_prompt_ids'] = token_ids_of_the_prompt_without_the_skill_block\n"
                "or, if the block did not fit, output.extra_fields['skill_missing'] = True"
            )
        if "span_start" not in fields:
            fields["span_start"], fields["span_end"] = reply_span(tokenizer, row, bool(fields[row_contract.VALID]))
        fields.update(task_id=task_id, arm=arm, skill_id=skill_id, success=success, skill_missing=missing)
        fields["plain_prompt_ids"] = None if not skill_id else plain
        fields.setdefault("score", float(success))
        if row is not rows[-1]:
            fields.update(dict.fromkeys(row_contract.LAST_ROW_ONLY))
        if not Status.counts(fields.get("status", "")):
            # None of its tokens enters a loss.
            row.response_mask = [0] * len(row.response_ids)
    valid = sum(bool(row.extra_fields[row_contract.VALID]) for row in rows) / len(rows)
    shown = {"acc": float(success), "success": float(success), "score": float(last["score"])}
    shown |= {"turns": float(len(rows)), "valid_share": valid}
    last["reward_extra_info"] = {**shown, **(last.get("reward_extra_info") or {})}
    return rows


_REQUIRED_LAST = {
    "task": 'output.extra_fields["task"] = the_task_as_the_plain_prompt_words_it',
    "transcript": 'output.extra_fields["transcript"] = [(observation, action), ...]  # text of every turn',
}


def reply_span(tokenizer: Any, row: AgentLoopOutput, valid: bool) -> tuple[int, int]:
    """The action's tokens in a reply: action tags, else tool-call tags, else all of it; (0, 0) in a malformed one."""
    if not valid:
        return 0, 0
    for pattern in (ACTION, TOOL_CALL):
        span = action_span(tokenizer, row.response_ids, pattern)
        if span != (0, 0):
            return span
    return 0, len(row.response_ids)


def _success(rows: Sequence[AgentLoopOutput], name: str, success_reward: float) -> bool:
    """As stated; else whether the return reaches the reward of a solved task."""
    stated = rows[-1].extra_fields.get("success")
    if stated is not None:
        return bool(stated)
    rewards = [row.extra_fields.get(row_contract.TURN_REWARD) for row in rows]
    total = sum(float(reward) for reward in rewards if reward not in (None, row_contract.OUTCOME))
    if row_contract.OUTCOME in rewards[-1:]:
        if rows[-1].reward_score is None:
            raise RowContractError(
                f"row {name}: states no 'success', and the reward model scores it only later; add\n"
                '    output.extra_fields["success"] = task_was_solved'
            )
        total += float(rows[-1].reward_score)
    return total >= success_reward

# SPDX-License-Identifier: Apache-2.0
"""Episodes of random tokens in TransferQueue, as verl's agent-loop worker leaves them there."""

from __future__ import annotations

import random
import uuid

import torch
from transfer_queue import KVBatchMeta
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from siri_verl.core.pairing import PLAIN, SKILL

SESSIONS, STEP = 4, 1
TASKS = [
    "toy-coin-shelf-kitchen",
    "toy-coin-box-attic",
    "toy-lamp-box-attic",
    "toy-lamp-table-garden",
    "toy-book-box-attic",
]
WINS = {
    # task -> successes of sessions 0, 1 (plain) and 2, 3 (skill)
    TASKS[0]: (0, 0, 1, 1),
    TASKS[1]: (1, 0, 1, 1),
    TASKS[2]: (1, 1, 0, 1),  # the skill did harm: Delta < 0
    TASKS[3]: (0, 0, 0, 1),
    TASKS[4]: (1, 0, 0, 1),  # no skill for books: all plain
}
TEMPERATURE = 0.8
ROW_NAMES: dict[str, str] = {}
"""Row key -> task, session and turn: keys hold random ids."""


def shown_to_plain(group, shown, prompt: list[int], name: tuple) -> dict:
    """The prompt with the group's skill, on rows of the plain arm."""
    if shown or not group.skill:
        return {}
    rng = random.Random(str(name))
    return {"skill_prompt_ids": [rng.randrange(3, 259) for _ in range(rng.randint(5, 9))] + prompt}


def put_rows(tq, groups, seed: int = 0, plain_sessions: int = SESSIONS // 2) -> tuple[KVBatchMeta, dict[str, dict]]:
    """Episodes of random tokens, written as verl's agent-loop worker writes them (trainer/ppo/v1/agent_loop_tq.py).

    Sessions from `plain_sessions` on see the group's skill.

    Returns:
        (the batch as the replay buffer hands it over, raw content by row key).
    """
    rng = random.Random(seed)
    rows: dict[str, dict] = {}

    def tokens(low, high):
        return [rng.randrange(3, 259) for _ in range(rng.randint(low, high))]

    for group in groups:
        uid = uuid.uuid4().hex
        for session in range(SESSIONS):
            shown = group.skill if session >= plain_sessions else None
            won, turns = WINS[group.task_id][session], rng.randint(1, 3)
            for turn in range(turns):
                prompt, reply = tokens(8, 30), tokens(9, 20)
                start = rng.randint(1, 3)
                end = rng.randint(start + 2, len(reply))
                key = f"{uid}_{session}_{turn}"
                ROW_NAMES[key] = f"{group.task_id} {session} {turn}"
                rows[key] = {
                    "prompt": tokens(5, 9) + prompt if shown else prompt,
                    "plain": prompt,
                    "reply": reply,
                    "log_probs": [-5.0 - rng.random() for _ in reply],
                    "fields": {
                        "anchor": f"{group.task_id} {min(turn, 1)}",
                        "turn_reward": 10.0 * won * (turn == turns - 1),
                        "valid": rng.random() > 0.15,
                        "task_id": group.task_id,
                        "arm": SKILL if shown else PLAIN,
                        "skill_id": shown.skill_id if shown else "",
                        "success": bool(won),
                        "score": float(won),
                        "span_start": start,
                        "span_end": end,
                        "plain_prompt_ids": prompt if shown else None,
                        "task": group.task_type,
                        "transcript": [("a", "b")] * turns if turn == turns - 1 else None,
                        **shown_to_plain(group, shown, prompt, (group.task_id, session, turn)),
                        "min_global_steps": 0,
                        "max_global_steps": 0,
                    },
                    "score": 10.0 * won,
                    "uid": uid,
                }
    keys = list(rows)
    rng.shuffle(keys)  # episodes arrive as they finish
    contents, tags = [], []
    for key in keys:
        row = rows[key]
        output = AgentLoopOutput(
            prompt_ids=row["prompt"],
            response_ids=row["reply"],
            response_mask=[1] * len(row["reply"]),
            response_logprobs=row["log_probs"],
            reward_score=row["score"],
            num_turns=1,
            metrics=AgentLoopMetrics(),
            extra_fields=row["fields"],
        )
        content = output.as_dict()
        ids = torch.cat([content["prompts"], content["responses"]])
        content.update(uid=row["uid"], loss_mask=content["response_mask"], input_ids=ids, multi_modal_inputs={})
        content["position_ids"] = torch.arange(len(ids))
        contents.append(content)
        lengths = {"prompt_len": len(row["prompt"]), "response_len": len(row["reply"]), "seq_len": len(ids)}
        tags.append(
            {"status": "success", "global_steps": STEP, "min_global_steps": 0, "max_global_steps": 0, **lengths}
        )
    tq.kv_batch_put(keys=keys, partition_id="train", fields=list_of_dict_to_tensordict(contents), tags=tags)
    return KVBatchMeta(keys=keys, tags=tags, partition_id="train", extra_info={"temperature": TEMPERATURE}), rows

# SPDX-License-Identifier: Apache-2.0
"""What an agent loop states about each turn in a row's `extra_fields` (docs/your_agent_loop.md).

A loop that returns one row per turn gets GiGPO by stating the three required fields on every row:

    row.extra_fields["anchor"] = observation_before_acting
    row.extra_fields["turn_reward"] = reward_of_this_turn
    row.extra_fields["valid"] = action_was_well_formed

A loop that returns one row per trajectory (verl's ToolAgentLoop) states lists, one entry per turn, a turn being a run
of ones of its response mask:

    output.extra_fields["anchors"] = observations_before_acting
    output.extra_fields["turn_rewards"] = rewards_of_the_turns
    output.extra_fields["valids"] = actions_were_well_formed

siri_verl's worker fills in the rest (siri_verl/rollout/complete_rows.py).
"""

from __future__ import annotations

from typing import Any

ANCHOR = "anchor"
"""str: the state before acting, without history or instructions."""
TURN_REWARD = "turn_reward"
"""float: the training reward of this turn only (verl overwrites `reward_score` of every row with the last row's); or
`OUTCOME`."""
VALID = "valid"
"""bool: the reply was well formed."""

REQUIRED = (ANCHOR, TURN_REWARD, VALID)

LISTS = {ANCHOR: "anchors", TURN_REWARD: "turn_rewards", VALID: "valids"}
"""Field of a row that is a turn -> field of a row that holds a trajectory, a list with one entry per turn."""

SPANS = "action_spans"
"""Of a row that holds a trajectory: (first, one past the last) token of each turn's action, counted from the turn's
first token."""

OUTCOME = "outcome"
"""As a turn's reward: what the reward function gives the trajectory, on its last turn; 0 on earlier ones.
`turn_rewards` may be this word instead of a list."""

# Further fields; absent ones take the default.
OPTIONAL: dict[str, object] = {
    "admissible": True,  # bool: the action did something
    "task_id": "",  # str
    "category": "",  # str: for results by kind of task
    "arm": "plain",  # str: "plain" or "skill"
    "skill_id": "",  # str: the skill shown, "" in the plain arm
    "status": "terminated",  # str: why the episode stopped, on every row (siri_verl/trajectory/turn.py)
    "reason": "",  # str: why the environment failed, on every row
    "success": False,  # bool: of the episode, on every row
    "score": 0.0,  # float: native score of the episode, on every row
    "skill_missing": False,  # bool: of the episode: its skill block did not fit into some prompt
    "span_start": 0,  # int: first token of the action in the reply
    "span_end": 0,  # int: one past its last token
    "history_dropped": 0,  # int: history pairs left out because the prompt was too long
    "node": "",  # str: Ray node of the environment server
    "server": "",  # str: policy server that wrote the reply, where it is known
}

SKILL_PROMPT = "skill_prompt_ids"
"""list of int, of a plain turn whose reply is scored under the group's skill: its prompt with the skill."""

# Beside these, read where they are needed alone: "plain_prompt_ids" (list of int, on rows that show a skill), "task"
# (str), and on an episode's last row "transcript" (list of (observation, action)), "final_observation" and
# "explanation" (str, optional: siri_verl/trajectory/turn.py).

LAST_ROW_ONLY = ("transcript", "final_observation", "explanation")

MISSING_ANCHORS = (
    "algorithm.adv_estimator=gigpo: {count} of {rows} rows state no {field!r} (first: {key}). An agent loop states "
    "its anchors with three lines per row:\n"
    '    output.extra_fields["anchor"] = observation_before_acting\n'
    '    output.extra_fields["turn_reward"] = reward_of_this_turn\n'
    '    output.extra_fields["valid"] = action_was_well_formed\n'
    "or, when a row holds a whole trajectory, with three lists, one entry per turn:\n"
    '    output.extra_fields["anchors"] = observations_before_acting\n'
    '    output.extra_fields["turn_rewards"] = rewards_of_the_turns\n'
    '    output.extra_fields["valids"] = actions_were_well_formed\n'
    "(docs/your_agent_loop.md). Without anchors use algorithm.adv_estimator=grpo."
)


class RowContractError(ValueError):
    """An agent loop's rows lack something SIRI needs; the message shows what to add."""


class TurnCountError(ValueError):
    """A row states another number of turns than its response mask shows."""


def holds_trajectory(fields: Any) -> bool:
    """Whether a row states its anchors as a list.

    Args:
        fields: the row's `extra_fields`.
    """
    return isinstance(fields, dict) and fields.get(LISTS[ANCHOR]) is not None


def split_fields(key: str, row: dict[str, Any], turns: int) -> list[dict[str, Any]]:
    """The fields of each turn of a row that holds a trajectory: lists give one entry each, the rest stands on all.

    Args:
        key: names the row in errors.
        row: its `extra_fields`.
        turns: runs of ones of its response mask.

    Raises:
        TurnCountError: a list is missing or has another number of entries than the row has turns.
    """
    lists: dict[str, list[Any]] = {}
    for name, plural in LISTS.items():
        stated = row.get(plural)
        if name == TURN_REWARD and stated == OUTCOME:
            stated = [OUTCOME] * turns
        if stated is None or isinstance(stated, str) or not hasattr(stated, "__len__"):
            raise TurnCountError(
                f"row {key}: states 'anchors', but {plural!r} is {stated!r}; give a list with one entry per turn"
            )
        if len(stated) != turns:
            raise TurnCountError(
                f"row {key}: {plural!r} has {len(stated)} entries, but the response mask has {turns} runs of ones; "
                "a turn is a run of ones (tokens of one reply), with at least one token of mask 0 before the next; "
                "give one entry per turn"
            )
        lists[name] = list(stated)
    shared = {name: value for name, value in row.items() if name not in LISTS.values()}
    return [{**shared, **{name: values[t] for name, values in lists.items()}} for t in range(turns)]

# SPDX-License-Identifier: Apache-2.0
"""Model and data of the example.

The small model is taught to use the tools: it asks the porter as often as the board, goes where the board says, and
guesses a room when nobody knows; it does what a skill in its prompt says, and can put into words how it delivered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from player import Lesson, teach  # noqa: E402
from post_room import NAMES, ROOMS, ask, deliver, question  # noqa: E402

VALIDATION = {("Ada", "2"), ("Ben", "4"), ("Cleo", "1"), ("Dan", "3")}
SKILL = "A procedure that has worked on tasks of this kind: When {condition}: {strategy}\n\n"
CONDITION = "a parcel is to be delivered"
STRATEGIES = {"board": "ask the board where to go", "porter": "ask the porter where to go"}
DONE = "done"


def call(tool: str, **arguments: str) -> str:
    """A tool call as the model writes it (verl's format `hermes`)."""
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


def lessons() -> list[Lesson]:
    """(messages, reply) of every turn of every way to deliver, and descriptions of the ways."""
    found: list[Lesson] = []
    for name in NAMES:
        for skill in (None, *STRATEGIES):
            block = "" if skill is None else SKILL.format(condition=CONDITION, strategy=STRATEGIES[skill])
            start = [{"role": "user", "content": block + question(name)}]
            for who in STRATEGIES if skill is None else (skill,):
                # as often as all the second turns that follow it
                found += [(start, call("ask", who=who))] * len(ROOMS)
                for room in ROOMS:
                    asked = _tool(start, call("ask", who=who), ask(who, name, room))
                    # the porter does not know: any room
                    found.append((asked, call("deliver", room=room)))
                    for to in (room, ROOMS[ROOMS.index(room) - 1]):
                        found.append((_tool(asked, call("deliver", room=to), deliver(to, name, room)[0]), DONE))
        for who, strategy in STRATEGIES.items():
            for room in ROOMS:
                replies = [call("ask", who=who), call("deliver", room=room), DONE]
                seen = [question(name), ask(who, name, room), deliver(room, name, room)[0]]
                lines = [f"{k}: {o} -> {a}" for k, (o, a) in enumerate(zip(seen, replies, strict=True), 1)]
                message = "\n".join(["describe", f"task: {question(name)}", *lines])
                found.append(([{"role": "user", "content": message}], f"condition: {CONDITION}\nstrategy: {strategy}"))
    return found


def _tool(messages: list[dict[str, str]], reply: str, answer: str) -> list[dict[str, str]]:
    return [*messages, {"role": "assistant", "content": reply}, {"role": "tool", "content": answer}]


def dataset_rows(validation: bool) -> list[dict]:
    """Rows as verl's RLHFDataset reads them."""
    tasks = [(name, room) for name in NAMES for room in ROOMS if ((name, room) in VALIDATION) == validation]
    return [
        {
            "prompt": [{"role": "user", "content": question(name)}],
            "task_id": f"{name}-{room}",
            "data_source": "post_room",
            "agent_name": "post_room",
            "reward_model": {"style": "rule", "ground_truth": room},
            "extra_info": {
                "index": index,
                "need_tools_kwargs": True,
                "tools_kwargs": {tool: {"create_kwargs": {"name": name, "room": room}} for tool in ("ask", "deliver")},
            },
        }
        for index, (name, room) in enumerate(tasks)
    ]


def prepare(folder: Path) -> None:
    """Write model/, train.parquet and validation.parquet."""
    loss = teach(folder / "model", lessons(), steps=400, batch=32)
    print(f"model: loss {loss:.3f} per token; what is left is whom to ask, and where to go without an answer")
    for name, validation in (("train", False), ("validation", True)):
        pandas.DataFrame(dataset_rows(validation)).to_parquet(folder / f"{name}.parquet")


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))

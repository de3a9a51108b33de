# SPDX-License-Identifier: Apache-2.0
"""The pipeline's task: deliver a parcel in a house of four rooms. Two tools, as verl's tool agent takes them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from verl.tools.base_tool import BaseTool
from verl.tools.schemas import ToolResponse

NAMES = ("Ada", "Ben", "Cleo", "Dan")
ROOMS = ("1", "2", "3", "4")


def question(name: str) -> str:
    """The task as the model reads it; only the house knows the room."""
    return f"Deliver the parcel for {name}."


def ask(who: str, name: str, room: str) -> str:
    """The answer of the board, or of anybody else."""
    return f"The board says {name} sits in room {room}." if who == "board" else f"The {who} has never met {name}."


def deliver(to: str, name: str, room: str) -> tuple[str, float]:
    """The answer at a room's door, and the reward."""
    return (f"{name} signs for the parcel.", 1.0) if to == room else (f"Nobody called {name} sits here.", 0.0)


class _PostRoomTool(BaseTool):
    """verl makes an instance for every call, with the task's settings from the dataset (`tools_kwargs`)."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.tasks: dict[str, dict[str, str]] = {}

    async def create(self, instance_id: str | None = None, **kwargs: Any) -> tuple[str, ToolResponse]:
        """Remember the task of this call."""
        instance_id = instance_id or uuid4().hex
        self.tasks[instance_id] = kwargs["create_kwargs"]
        return instance_id, ToolResponse()

    async def execute(
        self, instance_id: str, parameters: dict[str, Any], *, agent_data: Any, **kwargs: Any
    ) -> tuple[ToolResponse, float, dict]:
        """Answer, and reward."""
        text, reward = self.answer(parameters, **self.tasks[instance_id])
        return ToolResponse(text=text), reward, {}

    async def release(self, instance_id: str, **kwargs: Any) -> None:
        """Forget the call."""
        self.tasks.pop(instance_id, None)

    def answer(self, parameters: dict[str, Any], name: str, room: str) -> tuple[str, float]:
        """What the model is told, and the reward."""
        raise NotImplementedError


class Ask(_PostRoomTool):
    """Ask somebody, or look at the board."""

    def answer(self, parameters: dict[str, Any], name: str, room: str) -> tuple[str, float]:
        """No reward for asking."""
        return ask(str(parameters.get("who", "porter")), name, room), 0.0


class Deliver(_PostRoomTool):
    """Bring the parcel to a room."""

    def answer(self, parameters: dict[str, Any], name: str, room: str) -> tuple[str, float]:
        """1 in the right room."""
        return deliver(str(parameters.get("room", "")), name, room)

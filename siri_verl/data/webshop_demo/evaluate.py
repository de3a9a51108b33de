# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Plays demo tasks with a model, without a trainer: start levels, what a skill does, whether work is described rightly.

python -m siri_verl.data.webshop_demo.evaluate --model DIR --catalogue DIR [--panel development] [--samples 2]
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from siri_verl.data.webshop_demo.phrases import CONDITIONS, STRATEGIES
from siri_verl.data.webshop_demo.procedures import observed_procedure
from siri_verl.data.webshop_demo.settings import HISTORY_LENGTH, demo_env
from siri_verl.data.webshop_demo.views import read_page
from siri_verl.data.webshop_demo.words import DEPARTMENTS, department_of
from siri_verl.rollout.prompts import COMPACT, TurnView, parse_reply, render_prompt
from siri_verl.skills.mining_prompt import parse_mined_skill, render_mining_prompt
from siri_verl.skills.text import skill_block


@dataclass
class Played:
    """One episode of a model."""

    task_id: str
    department: str
    task: str
    skill: str | None
    observations: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    malformed: int = 0
    success: bool = False

    @property
    def procedure(self) -> str | None:
        """What it shows."""
        return observed_procedure(self.actions, [read_page(o) for o in self.observations])


class Player:
    """A model that answers prompts in batches.

    Args:
        model: Hugging Face folder or a loaded model.
        tokenizer: a loaded tokenizer where `model` is a loaded model.
        temperature: of sampling; 0 is greedy.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, temperature: float = 1.0, batch_size: int = 256):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(model) if tokenizer is None else tokenizer
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32) if tokenizer is None else model
        self.temperature, self.batch_size = temperature, batch_size

    @torch.no_grad()
    def answer(self, prompts: Sequence[str], max_new_tokens: int = 32) -> list[str]:
        """One reply per prompt, in order."""
        order = sorted(range(len(prompts)), key=lambda k: len(prompts[k]))
        replies = [""] * len(prompts)
        sampling = {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            texts = [
                self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompts[k]}], add_generation_prompt=True, tokenize=False
                )
                for k in part
            ]
            batch = self.tokenizer(
                texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
            )
            out = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                **(sampling if self.temperature > 0 else {"do_sample": False}),
            )
            decoded = self.tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for k, text in zip(part, decoded, strict=True):
                replies[k] = text
        return replies


def play_tasks(
    player: Player,
    catalogue: Path | str,
    task_ids: Sequence[str],
    skill_of: Callable[[str], str | None] = lambda department: None,
) -> list[Played]:
    """Play every task once, all at the same time.

    Args:
        player: the model.
        catalogue: folder written by `generate`.
        task_ids: tasks; one named twice is played twice.
        skill_of: department -> skill block or None.
    """
    running, finished = [], []
    for task_id in task_ids:
        env = demo_env(catalogue)
        observation, info = env.reset(options={"task_id": task_id})
        department = str(department_of(info["task"]))
        played = Played(task_id, department, info["task"], skill_of(department))
        finished.append(played)
        running.append((env, played, observation))
    while running:
        prompts = []
        for _, played, observation in running:
            history = list(zip(played.observations, played.actions, strict=True))[-HISTORY_LENGTH:]
            view = TurnView(played.task, observation, (), len(played.actions) + 1, tuple(history), played.skill)
            prompts.append(render_prompt(view, COMPACT))
        still = []
        for (env, played, observation), prompt, reply in zip(running, prompts, player.answer(prompts), strict=True):
            parsed = parse_reply(reply)
            played.malformed += not parsed.valid
            played.observations.append(observation)
            played.actions.append(parsed.action)
            played.prompts.append(prompt)
            played.replies.append(reply)
            observation, _, terminated, truncated, info = env.step(parsed.action)
            played.success = bool(info["success"])
            if not (terminated or truncated):
                still.append((env, played, observation))
        running = still
    return finished


def success_by_department(episodes: Sequence[Played]) -> dict[str, float]:
    """Share of successes per department."""
    outcomes = defaultdict(list)
    for episode in episodes:
        outcomes[episode.department].append(episode.success)
    return {d: sum(outcomes[d]) / len(outcomes[d]) for d in DEPARTMENTS if outcomes[d]}


def named_procedure(strategy: str) -> str | None:
    """The procedure a strategy's words name, None if they are no known phrase."""
    return next((name for name, phrases in STRATEGIES.items() if strategy in phrases), None)


def describe(player: Player, episodes: Sequence[Played]) -> dict[str, float]:
    """How well the model describes what it did: shares among `episodes` that show a procedure."""
    shown = [e for e in episodes if e.procedure is not None]
    prompts = [render_mining_prompt(e.task, list(zip(e.observations, e.actions, strict=True))) for e in shown]
    mined = [parse_mined_skill(text) for text in player.answer(prompts, 48)]
    named = [named_procedure(skill.strategy) for skill in mined]
    right = [name == e.procedure for name, e in zip(named, shown, strict=True)]
    place = [e.department in skill.condition.split() for skill, e in zip(mined, shown, strict=True)]
    count = max(1, len(shown))
    return {
        "episodes": float(len(shown)),
        "well_formed": sum(skill.problem is None for skill in mined) / count,
        "known_phrase": sum(name is not None for name in named) / count,
        "right_procedure": sum(right) / count,
        "right_department": sum(place) / count,
    }


def skill_matrix(player: Player, catalogue: Path | str, task_ids: Sequence[str], seed: int = 0) -> dict[str, dict]:
    """Procedure a skill block names -> success by department, and the share of episodes that show it."""
    rng = random.Random(f"skills:{seed}")
    table = {}
    for procedure, phrases in STRATEGIES.items():
        episodes = play_tasks(
            player,
            catalogue,
            task_ids,
            lambda d, p=phrases: skill_block(rng.choice(CONDITIONS).format(department=d), rng.choice(p)),
        )
        followed = sum(e.procedure == procedure for e in episodes) / len(episodes)
        table[procedure] = {**success_by_department(episodes), "followed": followed}
    return table


def main() -> None:
    """Print start levels, the effect of skills and the quality of descriptions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--catalogue", required=True)
    parser.add_argument("--panel", default="development")
    parser.add_argument("--samples", type=int, default=2, help="episodes per task without a skill")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-skills", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    player = Player(args.model, temperature=args.temperature)
    catalog = demo_env(args.catalogue).catalog
    split = {"warm_start": ("demo_warm_start", "train"), "train": ("demo", "train"), "test": ("demo", "test")}
    name, part = split.get(args.panel, ("demo", "validation"))
    task_ids = catalog.split(name).part(part)
    episodes = play_tasks(player, args.catalogue, list(task_ids) * args.samples)
    _line("plain", success_by_department(episodes))
    turns = sum(len(e.actions) for e in episodes)
    print(f"turns {turns / len(episodes):.2f}, malformed {sum(e.malformed for e in episodes) / turns:.4f}")
    print("procedures seen:", dict(Counter(str(e.procedure) for e in episodes).most_common()))
    _line("describing all", describe(player, episodes))
    _line("describing successes", describe(player, [e for e in episodes if e.success]))
    if not args.no_skills:
        for procedure, row in skill_matrix(player, args.catalogue, task_ids, args.seed).items():
            _line(procedure, row)


def _line(name: str, values: dict[str, float]) -> None:
    print(f"{name:22}" + "  ".join(f"{key} {value:.3f}" for key, value in values.items()), flush=True)


if __name__ == "__main__":
    main()

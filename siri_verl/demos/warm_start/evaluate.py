# SPDX-License-Identifier: Apache-2.0
"""Plays demo tasks with a model, without a trainer: start levels, what skills do, whether work is described rightly."""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import torch

from siri_verl.demos.warm_start.demo import Demo
from siri_verl.demos.warm_start.player import Player
from siri_verl.envs.base import TextEnv
from siri_verl.skills.mining_prompt import parse_mined_skill, render_mining_prompt
from siri_verl.skills.text import skill_block
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.prompts import render_prompt
from siri_verl.trajectory.turn import Reply


def play_tasks(
    player: Player,
    demo: Demo,
    make_env: Callable[[], TextEnv],
    task_ids: Sequence[str],
    skill_text_of: Callable[[str], str | None] = lambda category: None,
) -> list[Episode]:
    """Play every task once, all at the same time.

    Args:
        player: the model.
        demo: whose tasks.
        make_env: makes an environment; one is made per task.
        task_ids: tasks; one named twice is played twice.
        skill_text_of: category -> skill block or None.
    """
    finished, running = [], []
    for task_id in task_ids:
        env = make_env()
        observation, info = env.reset(options={"task_id": task_id})
        skill_text = skill_text_of(str(demo.category_of(info["task"])))
        finished.append(Episode(EpisodePlan(task_id, skill_text=skill_text), observation, info))
        running.append((env, finished[-1]))
    while running:
        views = [episode.view().recent(demo.history_length) for _, episode in running]
        replies = player.answer([render_prompt(view, demo.template) for view in views])
        for (env, episode), reply in zip(running, replies, strict=True):
            episode.observe(*env.step(episode.reply(Reply(reply))))
            if episode.over:
                env.close()
        running = [(env, episode) for env, episode in running if not episode.over]
    return finished


def success_by_category(demo: Demo, episodes: Sequence[Episode]) -> dict[str, float]:
    """Share of successes per category."""
    outcomes = defaultdict(list)
    for episode in episodes:
        outcomes[str(demo.category_of(episode.task))].append(episode.success)
    return {c: sum(outcomes[c]) / len(outcomes[c]) for c in demo.categories if outcomes[c]}


def shown_procedure(demo: Demo, episode: Episode) -> str | None:
    """The procedure an episode shows, None if it shows none."""
    turns = episode.turns
    return demo.observed(episode.task, [turn.observation for turn in turns], [turn.action for turn in turns])


def describe(player: Player, demo: Demo, episodes: Sequence[Episode]) -> dict[str, float]:
    """How well the model describes what it did: shares among `episodes` that show a procedure."""
    shown = [(e, name) for e in episodes if (name := shown_procedure(demo, e)) is not None]
    prompts = [render_mining_prompt(e.task, e.history, demo.mining_template) for e, _ in shown]
    mined = [parse_mined_skill(text) for text in player.answer(prompts, 48)]
    named = [demo.named_procedure(skill.strategy) for skill in mined]
    right = [found == name for found, (_, name) in zip(named, shown, strict=True)]
    place = [
        skill.condition in [demo.condition(str(demo.category_of(e.task)), way) for way in demo.conditions]
        for skill, (e, _) in zip(mined, shown, strict=True)
    ]
    count = max(1, len(shown))
    return {
        "episodes": float(len(shown)),
        "well_formed": sum(skill.problem is None for skill in mined) / count,
        "known_phrase": sum(name is not None for name in named) / count,
        "right_procedure": sum(right) / count,
        "right_condition": sum(place) / count,
    }


def skill_matrix(
    player: Player, demo: Demo, make_env: Callable[[], TextEnv], task_ids: Sequence[str], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Procedure a skill block names -> success by category, and the share of episodes that show it."""
    rng = random.Random(f"skills:{seed}")
    table = {}
    for procedure, phrases in demo.strategies.items():

        def skill(category: str, known: Sequence[str] = phrases) -> str:
            return skill_block(demo.condition(category, rng.choice(demo.conditions)), rng.choice(known))

        episodes = play_tasks(player, demo, make_env, task_ids, skill)
        followed = sum(shown_procedure(demo, e) == procedure for e in episodes) / len(episodes)
        table[procedure] = {**success_by_category(demo, episodes), "followed": followed}
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every demo's command line knows."""
    parser.add_argument("--model", required=True)
    parser.add_argument("--samples", type=int, default=2, help="episodes per task without a skill")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-skills", action="store_true")


def report(args: argparse.Namespace, demo: Demo, make_env: Callable[[], TextEnv], task_ids: Sequence[str]) -> None:
    """Print start levels, the effect of skills and the quality of descriptions."""
    torch.manual_seed(args.seed)
    player = Player(args.model, temperature=args.temperature)
    episodes = play_tasks(player, demo, make_env, list(task_ids) * args.samples)
    _line("plain", success_by_category(demo, episodes))
    turns = [turn for e in episodes for turn in e.turns]
    malformed = sum(not turn.valid for turn in turns)
    print(f"turns {len(turns) / len(episodes):.2f}, malformed {malformed / len(turns):.4f}")
    print("procedures seen:", dict(Counter(str(shown_procedure(demo, e)) for e in episodes).most_common()))
    _line("describing all", describe(player, demo, episodes))
    _line("describing successes", describe(player, demo, [e for e in episodes if e.success]))
    if not args.no_skills:
        for procedure, row in skill_matrix(player, demo, make_env, task_ids, args.seed).items():
            _line(procedure, row)


def _line(name: str, values: dict[str, float]) -> None:
    print(f"{name:22}" + "  ".join(f"{key} {value:.3f}" for key, value in values.items()), flush=True)

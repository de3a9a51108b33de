# SPDX-License-Identifier: Apache-2.0
"""The files of `siri-verl new-env NAME`: a working text environment to change, and its test."""

from __future__ import annotations

import keyword
from pathlib import Path

from siri_verl.files import write_text_atomically
from siri_verl.outputs import check_no_file

ENVIRONMENT = '''"""{title}: a text environment for siri_verl. Change the tasks, `_listed` and `step`.

    export PYTHONPATH=$PWD
    siri-verl check-env {name}:{title}-v0
    siri-verl data panel {name}:{title}-v0 --out panels/all.parquet --holdout 0.2 --seed 0
    python -m verl.trainer.main_ppo "+siri=[own,gpu,qwen_1.5b,gpus_1]" siri.environment.name={name}:{title}-v0 \\
        siri.rollout.max_turns=4 data.train_files=$PWD/panels/all.parquet data.val_files=$PWD/panels/all_holdout.parquet
"""

from __future__ import annotations

import gymnasium

from siri_verl.envs.base import EpisodeOverError, TextEnv, UnknownTaskError

DOORS = ("red", "green", "blue")
TASKS = {{f"{{color}}-{{number}}": color for color in DOORS for number in range(8)}}
MAX_TURNS = 4


class {title}(TextEnv):
    """A hall with three doors; the key for the door of the task's color lies in the hall."""

    task_id = None

    def task_ids(self):
        """Every task, in a fixed order. An id names one task permanently."""
        return list(TASKS)

    def reset(self, *, seed=None, options=None):
        super(TextEnv, self).reset(seed=seed)
        task_id = self._choose_task(options)
        if task_id not in TASKS:
            raise UnknownTaskError(f"task_id {{task_id!r}} is not one of the {{len(TASKS)}} tasks")
        # Everything random comes from the task or from self.np_random, so that an episode repeats.
        self.task_id, self.color, self.has_key, self.turns = task_id, TASKS[task_id], False, 0
        return self._observation(), self._info(known=True, solved=False)

    def step(self, action):
        if self.task_id is None:
            raise EpisodeOverError("no episode is running; call reset first")
        self.turns += 1
        known = action in self._listed()
        if action == "take key":
            self.has_key = True
        solved = known and self.has_key and action == f"open {{self.color}}"
        lost = known and action.startswith("open") and not solved
        truncated = not solved and not lost and self.turns == MAX_TURNS
        info = self._info(known, solved, over=solved or lost or truncated)
        observation = self._observation()
        if solved or lost or truncated:
            self.task_id = None
        return observation, float(solved), solved or lost, truncated, info

    def _listed(self):
        """The actions that have an effect now."""
        take = [] if self.has_key else ["take key"]
        return [*take, *(f"open {{color}}" for color in DOORS)]

    def _observation(self):
        key = "You hold a key." if self.has_key else "A key lies on the floor."
        return f"You are in a hall with a red, a green and a blue door. {{key}}"

    def _info(self, known, solved, over=False):
        return {{
            "task": f"open the {{self.color}} door",
            "task_id": self.task_id,
            "admissible_actions": [] if over else self._listed(),
            # The state before acting, without history: GiGPO compares turns with equal anchors.
            "anchor": f"{{self.color}} {{self.has_key}}",
            "action_admissible": known,
            "success": solved,
            "score": float(solved),
        }}


gymnasium.register("{title}-v0", entry_point={title})
'''

TEST = '''"""The environment keeps siri_verl's contract, and its tasks can be solved."""

import {name}
from siri_verl.envs.checker import check_text_env


def test_it_can_be_trained_on():
    check_text_env({name}.{title}())


def test_every_task_can_be_solved():
    env = {name}.{title}()
    for task_id in env.task_ids():
        env.reset(seed=0, options={{"task_id": task_id}})
        env.step("take key")
        *_, info = env.step(f"open {{env.color}}")
        assert info["success"]
'''


def write_environment(name: str, folder: Path) -> list[Path]:
    """Write NAME.py and test_NAME.py.

    Args:
        name: of the module, for example `my_shop`; the class is `MyShop`, the Gymnasium id `my_shop:MyShop-v0`.
        folder: where.

    Returns:
        The files.

    Raises:
        ValueError: the name cannot name a module.
        FileExistsError: one of the files is there.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise ValueError(f"new-env {name!r}: use a module name of lower-case letters, digits and underscores")
    texts = {folder / f"{name}.py": ENVIRONMENT, folder / f"test_{name}.py": TEST}
    check_no_file(*(path for path in texts if path.exists()))
    for path, text in texts.items():
        write_text_atomically(path, text.format(name=name, title=class_name(name)))
    return list(texts)


def class_name(name: str) -> str:
    """`my_shop` -> `MyShop`."""
    return "".join(word.capitalize() for word in name.split("_"))

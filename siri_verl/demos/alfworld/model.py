# SPDX-License-Identifier: Apache-2.0
"""The generated games' word-level tokenizer and their tiny model.

The vocabulary is enumerated from the alfworld package's names of things, its sentences, and the demo's
own phrases.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from siri_verl.demos.alfworld import phrases
from siri_verl.demos.alfworld.wheel import LAMPS, affordances, goal
from siri_verl.demos.warm_start import model
from siri_verl.demos.warm_start.model import ModelSize, collect_words, label_pattern, word_tokenizer
from siri_verl.envs.alfworld.tasks import TASK_TYPES

LABELS = ("task:", "turn:", "did:", "see:", "can:", "skill:", "condition:", "strategy:")
_PATTERN = "|".join([label_pattern(LABELS), r"->", r"[a-z]+|[0-9]+|[^\sa-z0-9]"])
_GAME_WORDS = (
    "-= Welcome to TextWorld, ALFRED! =-",
    "You are in the middle of a room. Looking quickly around you, you see nothing, and",
    "Your task is to:",
    "You arrive at. On the, you see. The is closed. The is open. In it, you see",
    "You open the. You close the. You pick up the from the. You move the to the.",
    "You heat the using. You cool the. You clean the. You turn on the. You turn off the.",
    "You are facing the. Next to it, you see. You are not carrying anything. You are carrying: a",
    "This is a hot and clean cold cool sliced normal. There's nothing special about. Nothing happens. This is on off",
    "go to take from move open close examine use heat cool clean slice with inventory look",
    "hold nothing , see no",
    "describe when",
    "-> | : ; , . ? ! [ ] = - ( ) '",
)
SIZE = ModelSize()
MAX_NUMBER = 60


def _vocabulary() -> list[str]:
    table = affordances()
    texts = [*_GAME_WORDS, *phrases.CONDITIONS, *phrases.CATEGORIES.values()]
    texts += [strategy for listed in phrases.STRATEGIES.values() for strategy in listed]
    texts += [sentence for task_type in TASK_TYPES for sentence in goal(task_type).sentences]
    texts += sorted({*table.pickupable, *table.receptacles, *LAMPS})
    texts += [str(n) for n in range(MAX_NUMBER + 1)]
    return collect_words(texts, _PATTERN, LABELS)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The demo's tokenizer, chat template included."""
    return word_tokenizer(_vocabulary(), _PATTERN)


def make_model(out: Path | str, *, seed: int = 0, size: ModelSize = SIZE) -> int:
    """Write an untrained model and its tokenizer as a Hugging Face folder; returns the number of parameters."""
    return model.make_model(out, build_tokenizer(), seed=seed, size=size)

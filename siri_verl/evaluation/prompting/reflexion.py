# SPDX-License-Identifier: Apache-2.0
"""Reflexion (Shinn et al., arXiv 2303.11366): ReAct, repeated with reflections on the failed attempts.

After a failed trial the model reads its own transcript and writes a reflection; the next trial of the same task, in
the same environment, has the last reflections in its prompt. The environment decides whether a trial failed, so
Reflexion is given the outcome at test time, which no other row is: compare its first trial with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

from siri_verl.envs.replies import THOUGHT
from siri_verl.evaluation.agents import Variant
from siri_verl.skills.sanitize import UnsafeTextError, neutralise
from siri_verl.trajectory.decoding import implied_opening

MEMORY = 3
"""Reflections kept, the newest: the paper bounds its memory to one to three."""
MAX_CHARS = 1000
"""Of a reflection; it is text of a model that goes into a prompt."""
QUESTION = (
    "Below is the transcript of an attempt at a task in a text environment. The attempt failed. In a few sentences, "
    "say where it went wrong and what to do differently next time, as a plan for a new attempt at the same task. "
    "Answer with the plan alone."
)
NOTHING_LEARNED = "The attempt failed; try another way."
"""Stands where a reflection came back empty or could not be made safe."""


def reflection_request(
    task: str, turns: Sequence[tuple[str, str]], final_observation: str, memory: Sequence[str]
) -> list[Variant]:
    """What to ask after a failed trial, the whole transcript first, then with ever more of its beginning left out.

    Args:
        task: the task text.
        turns: (observation, action) in order.
        final_observation: the environment's last observation.
        memory: reflections that this trial had.
    """
    head = [QUESTION, f"Task: {task}"]
    if memory:
        head.append("Plans of earlier attempts:\n" + "\n".join(f"- {lesson}" for lesson in memory))
    variants = []
    for first in range(len(turns) + 1):
        lines = ["(the beginning is left out)"] if first else []
        lines += [f"Observation: {observation}\nAction: {action or '(none)'}" for observation, action in turns[first:]]
        transcript = "\n".join([*lines, f"Observation: {final_observation}"])
        message = "\n\n".join([*head, f"Transcript:\n{transcript}"])
        variants.append(Variant(({"role": "user", "content": message},), history_dropped=first))
    return variants


def clean_reflection(text: str, special_tokens: Sequence[str] = ()) -> str:
    """A reflection as it may stand in a prompt: without the thoughts before it, control tokens and tags neutralised,
    one line, capped in length."""
    answer = THOUGHT.sub(" ", implied_opening(text) + text)
    try:
        safe = neutralise(answer, special_tokens).text
    except UnsafeTextError:
        safe = ""
    return " ".join(safe.split())[:MAX_CHARS] or NOTHING_LEARNED

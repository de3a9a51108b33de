# SPDX-License-Identifier: Apache-2.0
"""A policy for the toy game that reads the prompt and knows the way only when a skill tells it to read the note."""

import random
import re
import threading
from concurrent.futures import Future

from siri_verl.envs.toy import ROOMS
from support.tiny_model import make_tokenizer

READ_THE_NOTE = "go to the room that the note names"


def word_after(words: str, text: str) -> str:
    return re.search(re.escape(words) + r"(\w+)", text)[1]


class ToyPolicy:
    """Stands where a model stands: none as small can be trained to play within a test.

    Args:
        helped_by: the text in the prompt that makes it go to the right room.
        late: answer from a thread, in an order of its own.
    """

    def __init__(self, helped_by: str = READ_THE_NOTE, late: bool = False):
        self.tokenizer, self.helped_by, self.late = make_tokenizer(), helped_by, late
        self.requests: list[tuple[str, str, int]] = []

    def reply(self, prompt: str, seed: int) -> str:
        rng = random.Random(seed)
        observation = prompt.split("Observation: ")[1].split("\n")[0]
        if "you are in the hall" in observation:
            noted = word_after("is in the ", observation)
            action = f"go {noted if self.helped_by in prompt else rng.choice(ROOMS)}"
        elif "here is the" in observation:
            action = f"take {word_after('here is the ', observation)}"
        else:
            action = f"put {word_after('in the ', prompt.split('Task: ')[1])}"
        return f"<think>so</think><action>{action}</action>"

    def submit(self, name, prompt_ids, seed):
        prompt = self.tokenizer.decode(prompt_ids)
        self.requests.append((name, prompt, seed))
        future = Future()
        answer = self.tokenizer.encode(self.reply(prompt, seed), add_special_tokens=False)
        if self.late:
            threading.Timer(random.random() / 100, future.set_result, [answer]).start()
        else:
            future.set_result(answer)
        return future

# SPDX-License-Identifier: Apache-2.0
"""What is fuzzed: functions from bytes. Each reads them as the text or file that one of our readers takes.

A target returns where the input is read and where it is refused with the reader's own error. Any other exception, or a
property that does not hold, is a finding.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from support.hostile import JOINED, TEXTS
from support.tiny_catalog import ATTRIBUTES, HUMAN, PRODUCTS

from siri_verl.core.decisions import Decision
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.envs.panels import Panel, PanelError
from siri_verl.envs.replies import ActionRules, parse_reply, well_formed
from siri_verl.envs.webshop.goals import human_goals, synthetic_goals
from siri_verl.envs.webshop.product import DataError, parse_product
from siri_verl.envs.webshop.records import iterate_array, read_object
from siri_verl.files import without_surrogates
from siri_verl.runs.metrics import read_metrics
from siri_verl.runs.replay import PastRow, read_replay, write_replay
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import ANY_LENGTH, BankFileError, dump_bank, load_bank
from siri_verl.skills.mining_prompt import parse_mined_skill
from siri_verl.skills.sanitize import UnsafeTextError, neutralise
from siri_verl.skills.skill import Provenance
from siri_verl.skills.text import skill_block
from siri_verl.trajectory.decoding import implied_opening
from siri_verl.trajectory.file import TrajectoryFileError, header_line, read_trajectories, record_line
from siri_verl.trajectory.turn import Trajectory, Turn

SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
RULES = (ActionRules(), ActionRules(lower_case=True), ActionRules(lower_case=True, refuse_cjk=True))


@cache
def _folder() -> Path:
    """In memory where the machine has such a place: a million files are written."""
    return Path(tempfile.mkdtemp(prefix="siri_fuzz_", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def action(data: bytes) -> None:
    """The action parser."""
    text = _text(data)
    for rules in RULES:
        found = parse_reply(implied_opening(text) + text, rules)
        assert found.valid == (found.problem is None)
        assert found.valid or not found.action
        assert found.action == found.action.strip()
        assert not found.valid or rules.lower_case or (found.action in text and "</action>" not in found.action)


def skill(data: bytes) -> None:
    """The parser of a mined skill, and the bank that its text enters."""
    found = parse_mined_skill(_text(data))
    if found.problem is not None:
        assert not found.condition and not found.strategy
        return
    bank = SkillBank(special_tokens=SPECIAL)
    offer = bank.add(found.condition, found.strategy, "type", Provenance("t", "1/t/0", 1))
    if offer.skill is not None:
        assert clean(offer.skill.block)
        path = _file("entered.jsonl", dump_bank(bank).encode("utf-8"))
        assert load_bank(path, special_tokens=SPECIAL)["s0001"].block == offer.skill.block


def sanitiser(data: bytes) -> None:
    """The cleaning of skill texts."""
    try:
        found = neutralise(_text(data), SPECIAL)
    except UnsafeTextError:
        return
    assert clean(found.text)
    assert neutralise(found.text, SPECIAL) == type(found)(found.text, 0), "a clean text is left alone"


def clean(text: str) -> bool:
    """One line that UTF-8 can hold, without control tokens, tags and characters that a terminal obeys."""
    text.encode("utf-8")
    tokens = (*SPECIAL, "<think>", "</think>", "<action>", "</action>", "<|endoftext|>", "</s>", "[INST]")
    return text.isprintable() and not any(token in text for token in tokens)


def bank(data: bytes) -> None:
    """The bank reader. What it reads can be written, and reads the same again."""
    try:
        read = load_bank(_file("bank.jsonl", data), ANY_LENGTH, special_tokens=SPECIAL)
    except BankFileError:
        return
    for each in read.skills.values():
        assert clean(skill_block(each.condition, each.strategy))
    again = load_bank(_file("again.jsonl", without_surrogates(dump_bank(read)).encode()), ANY_LENGTH)
    assert len(again.events) == len(read.events)


def trajectories(data: bytes) -> None:
    """The trajectory reader."""
    try:
        read = read_trajectories(_file("trajectories.jsonl", data))
    except TrajectoryFileError:
        return
    for each in read.trajectories:
        record_line(each)


def panel(data: bytes) -> None:
    """The panel reader."""
    try:
        read = Panel.read(_file("panel.json", data))
        read.write(_folder() / "panel_again.json")
    except PanelError:
        return
    assert Panel.read(_folder() / "panel_again.json").task_ids == read.task_ids


def catalogue(data: bytes) -> None:
    """The reader of the catalogue: products, and their goals from the entry of the attributes. The input holds a line
    of attributes, a line of human instructions, and products."""
    first, _, rest = data.partition(b"\n")
    second, _, rest = rest.partition(b"\n")
    try:
        attributes = without_surrogates(read_object(_file("attributes.json", first), "attributes"))
        human = without_surrogates(read_object(_file("human.json", second), "instructions"))
        for number, record in iterate_array(_file("products.json", rest), "products"):
            where = f"record {number}"
            product = parse_product(without_surrogates(record), attributes, seed=1, where=where, attributes_file="a")
            if product is None:
                continue
            assert math.isfinite(product.price) and product.asin.isprintable()
            goals = synthetic_goals(product, attributes.get(product.asin, {}), seed=1, where=where)
            for goal in itertools.islice(goals, 20):
                goal.instruction.encode("utf-8")
            if product.asin in human:
                list(human_goals(product, human[product.asin], seed=1, where=where))
    except DataError:
        return


def records(data: bytes) -> None:
    """The readers of a run's other files: metrics, and rows to be replayed."""
    for read in (read_metrics, read_replay):
        try:
            read(_file("records.jsonl", data))
        except ValueError as error:
            assert "records.jsonl" in str(error), f"{error!r} does not name the file"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "action": action,
    "skill": skill,
    "sanitiser": sanitiser,
    "bank": bank,
    "trajectories": trajectories,
    "panel": panel,
    "catalogue": catalogue,
    "records": records,
}


def seeds(name: str) -> list[bytes]:
    """Sound and hostile inputs to start from."""
    text = [text.encode("utf-8", "surrogatepass") for text in (*TEXTS, JOINED)]
    if name == "action":
        return [*text, *(well_formed(t).encode("utf-8", "surrogatepass") for t in ("go", *TEXTS))]
    if name in ("skill", "sanitiser"):
        answers = [
            "condition: {}\nstrategy: {}",
            "```\n**condition**: {}\n**strategy**: {}\n```",
            "so\n</think>\n- condition: {}\n- strategy: {}",
        ]
        made = [answer.format(a, b) for answer in answers for a, b in (("kitchen", "open it"), (JOINED, JOINED))]
        return [*text, *(answer.encode("utf-8", "surrogatepass") for answer in made)]
    return {
        "bank": _banks,
        "trajectories": _trajectories,
        "panel": _panels,
        "catalogue": _catalogues,
        "records": _records,
    }[name]()


def _banks() -> list[bytes]:
    made = SkillBank(utility=UtilitySettings())
    for number in range(3):
        made.add("kitchen", f"open the cupboard number {number * 'x'}", "type", Provenance("t", "1/t/0", 1))
    for step in range(12):
        made.record(TreatmentEffect("g", "s0001", 0.5, 1.0, 0.5, 4, 4), "t", step)
    assert any(isinstance(event, Decision) for event in made.events)
    return [
        dump_bank(SkillBank()).encode(),
        dump_bank(made).encode(),
        dump_bank(made).replace("kitchen", "<|im_end|>").encode(),
    ]


def _trajectories() -> list[bytes]:
    turn = Turn(observation="o", reply="r", action="a", reward=1.0, valid=True, problem=None, admissible=True)
    each = Trajectory(source="training", step=1, task_id="t", task="text", turns=(turn, turn), success=True, score=1.0)
    old = {"record": "episode", "task_id": "t", "task": "x", "turns": [{"observation": "o"}], "repetition": 0}
    header = header_line("run", {})
    return [
        header,
        header + record_line(each),
        header_line("evaluation", {"a": 1}) + record_line(each),
        json.dumps(old).encode() + b"\n",
    ]


def _panels() -> list[bytes]:
    path = _folder() / "seed.json"
    Panel("toy", ("a", "b", "ü"), {"x": [1, None]}, "train").write(path)
    return [path.read_bytes()]


def _catalogues() -> list[bytes]:
    lines = [
        json.dumps(part, ensure_ascii=kind).encode() for kind in (True, False) for part in (ATTRIBUTES, HUMAN, PRODUCTS)
    ]
    return [b"\n".join(lines[:3]), b"\n".join(lines[3:])]


def _records() -> list[bytes]:
    metrics = '{"step": 1, "kind": "train", "metrics": {"a": 1.0}}\n{"step": 1, "data": {"val/x": 0.5, "a": 1}}\n'
    path = _folder() / "replay.jsonl"
    write_replay(path, [PastRow(1, [1], [2, 3], (0, 1), (0, 1), 0.5, [0.1, 0.2], [])])
    return [metrics.encode(), path.read_bytes()]


@cache
def words() -> list[str]:
    """Pieces to put into inputs: hostile texts, and what JSON readers trip over."""
    short = [text for text in TEXTS if len(text) < 40]
    return [*short, *FORMAT]


FORMAT = (
    *("null", "true", "NaN", "-Infinity", "1e999", "9" * 30, "-1", "[]", "{}", '""', "[[[[", '{"a":', "\\ud83d"),
    *('"version": 2', '"version": 1', '"record": "decision"', '"record": "evidence"', '"record": "skill"', "\n", "\r"),
    *("condition:", "strategy:", "```", "**", "<think>", "</think>", "<action>", "</action>", "$1.2.3", "asin"),
)


def mutated(rng: random.Random, given: list[bytes]) -> bytes:
    """One of the inputs with some pieces put in, cut out, doubled, changed or taken from another."""
    data = bytearray(rng.choice(given))
    for _ in range(rng.randint(1, 6)):
        at, end = sorted(rng.randint(0, len(data)) for _ in range(2))
        kind = rng.randrange(5)
        if kind == 0:
            data[at:at] = rng.choice(words()).encode("utf-8", "surrogatepass")
        elif kind == 1:
            del data[at : min(end, at + rng.choice((1, 8, 64)))]
        elif kind == 2:
            data[at:at] = data[at : min(end, at + 200)]
        elif kind == 3 and data:
            data[at % len(data)] = rng.randrange(256)
        else:
            other = rng.choice(given)
            data[at:at] = other[rng.randint(0, len(other)) :][:200]
    return bytes(data)

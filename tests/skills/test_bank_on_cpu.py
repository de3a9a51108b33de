# SPDX-License-Identifier: Apache-2.0
"""The bank: what it takes in, what it turns away, its file, and files that cannot be right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.bank_file import BankFileError, dump_bank, load_bank, save_bank
from siri_verl.skills.skill import Provenance

SOURCE = Provenance("task-1", "task-1_3", 4)


def effect(skill_id, delta, group="g"):
    return TreatmentEffect(group, skill_id, delta, 0.5 + delta / 2, 0.5 - delta / 2, 4, 4)


def small_bank(**utility):
    bank = SkillBank(utility=UtilitySettings(**{"n_eval": 3, "promote_above": 0.1, "ema_alpha": 0.3, **utility}))
    bank.add("the kitchen is named", "choose every option the task names", "kitchen", SOURCE)
    bank.add("the garden is named", "look at the second page", "garden", SOURCE)
    return bank


def test_a_skill_enters_as_a_candidate_with_its_source():
    bank = small_bank()
    skill = bank["s0001"]
    assert (skill.status, skill.task_type, skill.provenance, skill.repeats) == ("candidate", "kitchen", SOURCE, 0)
    assert skill.block == "When the kitchen is named: choose every option the task names"


def test_a_repeat_is_turned_away_counted_and_named():
    bank = small_bank()
    again = bank.add("shopping for the kitchen", "Choose  every option, the task names!", "kitchen", SOURCE)
    assert (again.skill, again.problem, again.duplicate_of) == (None, "duplicate", "s0001")
    assert bank["s0001"].repeats == 1 and len(bank) == 2
    assert bank.add("c", "names every option the choose task", "kitchen", SOURCE).problem == "duplicate", "same words"
    assert bank.add("c", "choose every option the task names", "garden", SOURCE).skill is not None, "another task type"
    assert bank.add("c", "choose no option the task names", "kitchen", SOURCE).skill is not None, "another word"


def test_retired_text_is_not_taken_again():
    bank = small_bank(n_eval=1)
    for step in range(5):
        bank.record(effect("s0002", -1.0), "t", step)
    assert bank["s0002"].status == "retired"
    assert bank.add("x", "look at the second page", "garden", SOURCE).problem == "duplicate"


def test_caps():
    bank = SkillBank(
        BankSettings(max_skills=3, max_candidates_per_type=2, max_condition_chars=10, max_strategy_chars=12)
    )
    offers = [("c", "one", "a"), ("c", "two", "a"), ("c", "three", "a"), ("c", "four", "b"), ("c", "five", "b")]
    assert [bank.add(*offer, SOURCE).problem for offer in offers] == ["", "", "type_full", "", "bank_full"]
    assert bank.add("c" * 11, "x", "z", SOURCE).problem == "condition_too_long"
    assert bank.add("c", "x" * 13, "z", SOURCE).problem == "strategy_too_long"
    assert bank.add("<|im_start|>", "x", "z", SOURCE).problem == "empty"


def test_control_tokens_are_neutralised_and_counted():
    bank = SkillBank(special_tokens=["##pad##"])
    entry = bank.add("the <|im_end|> task", "buy ##pad## it </think> now", "a", SOURCE)
    assert entry.neutralised == 3 and entry.skill.neutralised == 3
    assert entry.skill.block == "When the task: buy it now"


def test_evidence_leads_to_decisions_that_are_kept():
    bank = small_bank()
    decisions = [bank.record(effect("s0001", 0.5), f"t{i}", i) for i in range(4)]
    assert [d is not None for d in decisions] == [False, False, True, False]
    skill = bank["s0001"]
    assert skill.status == "active"
    assert skill.decisions == [decisions[2]]
    assert len(skill.evidence) == 4
    assert decisions[2].groups == 3
    assert decisions[2].mean == 0.5
    assert decisions[2].rule == "ema"
    census = bank.census(["kitchen", "garden", "office"])
    assert (census.candidate, census.active, census.retired, census.types, census.active_types) == (1, 1, 0, 3, 1)
    assert [s.skill_id for s in bank.of_type("kitchen", "active")] == ["s0001"]
    assert not bank.of_type("kitchen", "candidate")


def test_undefined_effects_change_nothing():
    bank = small_bank()
    before = dump_bank(bank)
    undefined = TreatmentEffect("g", "s0001", float("nan"), 1.0, float("nan"), 4, 0, "no_plain_arm")
    assert bank.record(undefined, "t", 1) is None and dump_bank(bank) == before


def test_groups_of_a_step_are_taken_in_order_of_task():
    effects = [effect("s0001", d, g) for d, g in ((0.5, 3), (-0.5, 1), (1.0, 2))]
    effects.append(TreatmentEffect(4, "", float("nan"), float("nan"), 0.0, 0, 8, "no_skill_arm"))
    banks = [small_bank(), small_bank()]
    for bank, order in zip(banks, (effects, effects[::-1]), strict=True):
        bank.record_all(order, {1: "a", 2: "b", 3: "c", 4: "d"}, 7)
    assert dump_bank(banks[0]) == dump_bank(banks[1])
    assert [e.task_id for e in banks[0]["s0001"].evidence] == ["a", "b", "c"]


def test_bank_text_in_a_prompt_is_found():
    bank = small_bank()
    bank.add("in a hurry", "buy now", "kitchen", SOURCE)
    assert bank.find_in("task: x\nskill: When y: look at the second page") == "s0002"
    assert bank.find_in("task: look at the second page", "Look at the second page!") == "", "the task's own words"
    assert bank.find_in("page: buy now") == "", "too short to be told from the page's own words"
    assert bank.find_in("When in a hurry: buy now") == "s0003"


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcdefgh"), st.sampled_from(["x", "y"])),
        st.tuples(st.just("delta"), st.integers(0, 5), st.integers(-4, 4)),
    ),
    max_size=80,
)


def play(bank, events, first=0):
    decisions = []
    for i, (kind, a, b) in enumerate(events, first):
        if kind == "add":
            bank.add("some task", f"strategy {a}", b, Provenance(f"t{i}", f"r{i}", i))
        elif bank.skills:
            skill_id = list(bank.skills)[a % len(bank.skills)]
            decisions.append(bank.record(effect(skill_id, b / 4), f"t{i}", i))
    return decisions


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(0, 80), st.sampled_from(["ema", "sequential"]))
def test_a_bank_that_was_written_and_read_goes_on_as_if_nothing_had_happened(tmp_path_factory, events, stop, rule):
    utility = UtilitySettings(decision=rule, n_eval=2, promote_above=0.1, ema_alpha=0.4, fdr=0.5, retire_level=0.4)
    straight, first = SkillBank(utility=utility), SkillBank(utility=utility)
    decisions = play(straight, events)
    early = play(first, events[:stop])
    path = tmp_path_factory.mktemp("bank") / "bank.jsonl"
    save_bank(first, path)
    resumed = load_bank(path)
    assert dump_bank(resumed).encode() == path.read_bytes() and resumed.book.states == first.book.states
    late = play(resumed, events[stop:], len(events[:stop]))
    assert early + late == decisions
    assert dump_bank(resumed) == dump_bank(straight) and resumed.skills == straight.skills


def test_the_file_is_json_lines_a_person_can_read(tmp_path):
    bank = small_bank()
    bank.add("the käse <|x|>", "wähle 奶酪", "kitchen", SOURCE)
    bank.record(effect("s0001", 0.25), "t", 9)
    save_bank(bank, tmp_path / "bank.jsonl")
    lines = (tmp_path / "bank.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["record"] for line in lines] == ["bank", "skill", "skill", "skill", "evidence"]
    assert "wähle 奶酪" in lines[3]
    assert json.loads(lines[4]) == dict(
        record="evidence",
        id="s0001",
        step=9,
        task_id="t",
        delta=0.25,
        skill_mean=0.625,
        plain_mean=0.375,
        skill_n=4,
        plain_n=4,
    )


VERSION_1 = """\
{"record": "skill", "id": "s0001", "task_type": "kitchen", "condition": "the käse", "strategy": "buy it", \
"task_id": "task-1", "trajectory": "task-1_3", "step": 4, "miner": "policy", "neutralised": 1, "control": "look"}
{"record": "repeat", "id": "s0001", "task_id": "task-1", "trajectory": "task-1_3", "step": 4, "miner": "policy"}
{"record": "evidence", "id": "s0001", "step": 9, "task_id": "t", "delta": 0.5, "skill_mean": 0.75, \
"plain_mean": 0.25, "skill_n": 4, "plain_n": 4}
{"record": "decision", "id": "s0001", "step": 9, "before": "candidate", "after": "active", "rule": "ema", \
"reason": "utility 0.500 above 0.1 after 1 groups", "groups": 1, "mean": 0.5, "low": -0.9783927217595192, \
"high": 0.9927975739210524, "utility": 0.5, "e_value": null, "e_threshold": null}
"""


def test_the_lines_of_version_1():
    bank = SkillBank(utility=UtilitySettings(n_eval=1, ema_alpha=1.0, promote_above=0.1))
    for _ in range(2):
        bank.add("the <|x|> käse", "buy it", "kitchen", SOURCE, control="look")
    bank.record(effect("s0001", 0.5), "t", 9)
    assert dump_bank(bank).split("\n", 1)[1] == VERSION_1


def test_records_are_never_changed():
    bank = small_bank()
    seen = []
    for i in range(6):
        bank.record(effect("s0001", 0.5), f"t{i}", i)
        lines = dump_bank(bank).splitlines()[1:]
        assert lines[: len(seen)] == seen
        seen = lines


def test_a_reader_never_sees_half_a_file(tmp_path):
    """Another process reads the file over and over while it is rewritten: every read is a whole bank."""
    path = tmp_path / "bank.jsonl"
    bank = small_bank()
    save_bank(bank, path)
    reader = (
        "import sys, time\nfrom siri_verl.skills.bank_file import load_bank\nend, n = time.time() + 2, 0\n"
        "while time.time() < end:\n    load_bank(sys.argv[1]); n += 1\nprint(n)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", reader, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    i = 0
    while child.poll() is None and i < 3000:
        bank.record(effect("s0002", 0.0), f"t{i}", i)
        save_bank(bank, path)
        i += 1
        time.sleep(0.002)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert int(out) > 3 and i > 3
    assert os.listdir(tmp_path) == ["bank.jsonl"], "no temporary file is left"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bank.jsonl"
    bank = small_bank()
    save_bank(bank, path)
    old = path.read_text()

    def refuse(*args):
        raise OSError("no space left on device")

    bank.record(effect("s0001", 0.5), "t", 1)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        save_bank(bank, path)
    assert path.read_text() == old and os.listdir(tmp_path) == ["bank.jsonl"]


@pytest.fixture
def lines():
    bank = small_bank()
    for i in range(3):
        bank.record(effect("s0001", 0.5), f"t{i}", i)
    return dump_bank(bank).split("\n")[:-1]


def reread(tmp_path, lines, recount=False, end="\n"):
    if recount:
        lines[0] = json.dumps({**json.loads(lines[0]), "records": len(lines) - 1})
    path = tmp_path / "edited.jsonl"
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return load_bank(path)


def edit(lines, number, **changes):
    lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **changes})
    return lines


def test_lines_of_the_fixture(lines):
    assert [json.loads(line)["record"] for line in lines] == ["bank", "skill", "skill"] + ["evidence"] * 3 + [
        "decision"
    ]


@pytest.mark.parametrize(
    "number, changes, message",
    [
        (1, dict(version=2), "line 1: version 2, this program reads version 1; give a bank file that"),
        (1, dict(record="index"), "line 1: expected the header .*give a bank file"),
        (1, dict(records=99), 'line 1: the header counts 99 records, 6 follow.*set "records" in line 1 to 6'),
        (1, dict(utility={"decision": "luck"}), "line 1: utility settings: siri.utility.decision='luck'"),
        (1, dict(utility={"mood": 1}), "line 1: utility settings: .*mood"),
        (2, dict(record="idea"), "line 2: record 'idea', must be one of skill, repeat, evidence, decision"),
        (3, dict(id="s0001"), "line 3: skill 's0001' occurs twice"),
        (2, dict(strategy=7), "line 2: skill: strategy is 7"),
        (2, dict(strategy=" "), "line 2: skill 's0001': strategy is empty"),
        (2, dict(strategy="x" * 601), "line 2: skill 's0001': strategy has 601 characters, the cap is 600"),
        (2, dict(colour="red"), "line 2: skill: missing or unknown fields colour"),
        (5, dict(delta=0.9), "line 5: evidence about s0001: delta 0.9 is not skill_mean 0.75 - plain_mean 0.25"),
        (5, dict(delta="much"), "line 5: evidence: delta is 'much'"),
        (5, dict(step=-1), "line 5: evidence: step is -1"),
        (5, dict(id="s0009"), "line 5: evidence about skill 's0009', which no line above enters"),
        (5, dict(delta=3.0, skill_mean=3.5, plain_mean=0.5), "line 5: decision book: Delta 3.0"),
        (7, dict(groups=8), "line 7: decision about s0001: rests on 8 groups, 3 stand above it"),
        (
            7,
            dict(before="active", after="retired"),
            "line 7: decision book: active -> retired for skill 's0001', which is",
        ),
        (7, dict(after="gone"), "line 7: decision about 's0001': candidate -> gone is not a step"),
    ],
)
def test_edited_files_are_refused_by_line(tmp_path, lines, number, changes, message):
    with pytest.raises(BankFileError, match=f"edited.jsonl, {message}"):
        reread(tmp_path, edit(lines, number, **changes))


def test_cut_off_files_are_refused(tmp_path, lines):
    with pytest.raises(BankFileError, match="line 7: the file ends in the middle of a line"):
        reread(tmp_path, [*lines[:-1], lines[-1][:20]], end="")
    with pytest.raises(BankFileError, match="the header counts 6 records, 5 follow"):
        reread(tmp_path, lines[:-1])
    with pytest.raises(BankFileError, match="line 1: not JSON|line 1: the file ends"):
        reread(tmp_path, [""], end="")
    with pytest.raises(BankFileError, match="line 4: not JSON .*column"):
        reread(tmp_path, [*lines[:3], "{broken", *lines[4:]])
    with pytest.raises(BankFileError, match="line 4: expected a JSON object"):
        reread(tmp_path, [*lines[:3], "[1]", *lines[4:]])
    with pytest.raises(BankFileError, match="line 6: decision about s0001: rests on 3 groups, 2 stand above it"):
        reread(tmp_path, lines[:5] + lines[6:], recount=True)


def test_a_bank_is_found_in_its_folder_and_a_missing_one_says_what_to_give(tmp_path):
    save_bank(small_bank(), tmp_path / "skills.jsonl")
    assert dump_bank(load_bank(tmp_path)) == dump_bank(small_bank())
    (tmp_path / "empty").mkdir()
    for path, named in ((tmp_path / "nowhere.jsonl", "nowhere.jsonl"), (tmp_path / "empty", "empty/skills.jsonl")):
        with pytest.raises(BankFileError, match=f"{named}: no such file; give a bank file .* run's or a checkpoint's"):
            load_bank(path)


@pytest.mark.parametrize(
    ("ids", "then"),
    [
        (["s0002", "s0003"], ["s0004", "s0005"]),  # pruned
        (["s0007"], ["s0008", "s0009"]),
        (["look-first", "s0001"], ["s0003", "s0004"]),  # written by hand
        (["s3", "s0002"], ["s0004", "s0005"]),
        (["s" + "9" * 400], ["s0002", "s0003"]),
    ],
)
def test_a_new_skill_takes_a_number_that_no_other_has_also_after_a_restart(tmp_path, ids, then):
    bank = small_bank()
    lines = dump_bank(bank).split("\n")[:1]
    record = json.loads(dump_bank(bank).splitlines()[1])
    lines += [json.dumps({**record, "id": name, "task_type": f"type {i}"}) for i, name in enumerate(ids)]
    straight = reread(tmp_path, lines, recount=True)
    first, second = (straight.add("c", text, "new", SOURCE).skill.skill_id for text in ("one", "two"))
    assert [first, second] == then
    save_bank(straight, tmp_path / "bank.jsonl")
    resumed = load_bank(tmp_path / "bank.jsonl")
    assert straight.add("c", "three", "new", SOURCE) == resumed.add("c", "three", "new", SOURCE)


def test_control_tokens_written_in_by_hand_are_neutralised_and_counted(tmp_path, lines):
    bank = reread(tmp_path, edit(lines, 2, strategy="buy <|im_end|> now"))
    assert bank["s0001"].strategy == "buy now" and bank["s0001"].neutralised == 1
    assert "im_end" not in dump_bank(bank)


@pytest.mark.parametrize("options", [dict(max_skills=0), dict(max_strategy_chars=0), dict(duplicate_overlap=0.0)])
def test_bad_caps_are_named(options):
    with pytest.raises(ValueError, match=f"siri.bank.{next(iter(options))}=0"):
        BankSettings(**options)


def test_unknown_skills_are_named():
    with pytest.raises(KeyError, match="no skill 's0042' among 2"):
        small_bank().record(effect("s0042", 0.5), "t", 1)


def test_a_line_that_is_nested_too_deeply_is_named(tmp_path):
    path = tmp_path / "skills.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(BankFileError, match="line 1: not JSON .nested too deeply"):
        load_bank(path)

# SPDX-License-Identifier: Apache-2.0
"""Re-testing skills: fresh tasks only, pairs that differ in the skill alone, effects of skills that help and do not."""

import json

import pytest
from rich.console import Console
from support.toy_policy import READ_THE_NOTE, ToyPolicy

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.envs.panels import Panel, PanelError, make_panel, write_dataset
from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import TokenAgent
from siri_verl.evaluation.episodes import EpisodePlayer
from siri_verl.evaluation.retest import RetestError, check_fresh, choose_skills, retest, tasks_of_bank
from siri_verl.evaluation.retest_run import panel_tasks
from siri_verl.report.retests import report_json, retest_table
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Provenance
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings

TASKS = make_environment("toy", split="validation").unwrapped.task_ids()
TYPE_OF = {task: task.split("-")[1] for task in TASKS}
USEFUL, USELESS = READ_THE_NOTE, "whistle a tune before you leave the hall"


def bank_of(*strategies, task_type="coin", groups=8, delta=1.0):
    """Skills of one type; each has `groups` groups of evidence with the same Delta."""
    bank = SkillBank(utility=UtilitySettings(n_eval=3, promote_above=0.1, ema_alpha=0.3, retire_after=2))
    for strategy in strategies:
        skill = bank.add("a thing is out of place", strategy, task_type, Provenance("mined-task", "t", 4)).skill
        for i in range(groups):
            mean = max(delta, 0.0)
            effect = TreatmentEffect("g", skill.skill_id, delta, mean, mean - delta, 4, 4)
            bank.record(effect, f"tested-{i}", 10 + i)
    return bank


def play_with(policy, length=1500):
    prompts = PromptBuilder(policy.tokenizer, PromptSettings(), length)
    return EpisodePlayer(TokenAgent(policy, prompts), lambda: make_environment("toy"), max_turns=6, seed=3).play


def test_a_skill_that_helps_and_one_that_does_not_are_told_apart():
    policy = ToyPolicy()
    bank = bank_of(USEFUL, USELESS)
    report = retest(bank, choose_skills(bank), TYPE_OF, play_with(policy), pairs=64, seed=3)
    useful, useless = report.skills
    assert useful.success.pairs == useless.success.pairs == 64 and useful.success.tasks == 4
    assert useful.success.skill == 1.0 and useful.success.plain == useless.success.plain < 0.6
    assert useful.success.positive and useful.success.low > 0.4
    assert not useless.success.positive and useless.success.low < 0 < useless.success.high
    assert useful.trained_groups == 8
    assert useful.trained_mean == 1.0
    assert useful.left_out == 0
    assert report.overall.pairs == 128 and report.overall.tasks == 4
    assert report.overall.effect == pytest.approx((useful.success.effect + useless.success.effect) / 2)
    # 64 plain episodes serve both skills.
    assert len({name.rsplit("-", 1)[0] for name, *_ in policy.requests}) == 3 * 64


def test_the_pairs_differ_in_the_skill_alone():
    seen = []

    def play(plans):
        seen.extend(plans)
        return play_with(ToyPolicy())(plans)

    bank = bank_of(USEFUL)
    report = retest(bank, choose_skills(bank), TYPE_OF, play, pairs=10, seed=3)
    assert len(report.pairs) == 12, "4 tasks, each played 3 times"
    by_place = {}
    for plan in seen:
        by_place.setdefault(plan.name[1:3], []).append(plan)
    for plain, skill in by_place.values():
        assert (plain.task_id, plain.env_seed) == (skill.task_id, skill.env_seed)
        assert plain.skill_text is None
        assert skill.skill_text == bank["s0001"].block
        assert plain.name != skill.name
    assert len({plan.env_seed for plan in seen}) == 12
    assert set(TYPE_OF) & {pair.task_id for pair in report.pairs} == {t for t in TASKS if "coin" in t}


def test_seeds_decide_everything():
    bank = bank_of(USEFUL)
    first, again, other = (
        retest(bank, choose_skills(bank), TYPE_OF, play_with(ToyPolicy()), pairs=8, seed=seed).pairs
        for seed in (3, 3, 4)
    )
    assert first == again
    assert len(other) == len(first)


def test_pairs_whose_skill_did_not_fit_are_left_out_and_counted():
    bank = bank_of(USEFUL + " or" * 150)
    report = retest(bank, choose_skills(bank), TYPE_OF, play_with(ToyPolicy(), 700), pairs=8, seed=3)
    (result,) = report.skills
    assert result.left_out == 8
    assert result.success.pairs == 0
    assert not result.success.positive
    content = json.loads(report_json(report, {}))
    assert content["skills"][0]["success"]["effect"] is None
    assert "8 left out" in text(retest_table(report))


def test_tasks_of_the_bank_are_refused():
    bank = bank_of(USEFUL)
    bank.repeat("s0001", Provenance("mined-again", "t", 9))
    assert tasks_of_bank(bank) == {"mined-task", "mined-again", *(f"tested-{i}" for i in range(8))}
    for used in ("mined-task", "mined-again", "tested-3"):
        with pytest.raises(RetestError, match=f"{used} of its 17 tasks stand in the bank"):
            retest(bank, choose_skills(bank), {**TYPE_OF, used: "coin"}, play_with(ToyPolicy()))
    check_fresh(TASKS, {"were trained on": frozenset({"elsewhere"})})
    with pytest.raises(RetestError, match="and 1 more of its 16 tasks were trained on"):
        check_fresh(TASKS, {"were trained on": frozenset(TASKS[:4])})


def test_skills_without_a_task_of_their_type_are_named():
    bank = bank_of(USEFUL)
    bank.add("c", "sail away", "boat", Provenance("m", "t", 1))
    report = retest(bank, list(bank.skills.values()), TYPE_OF, play_with(ToyPolicy()), pairs=1)
    assert report.untested == {"s0002": "no task of type 'boat' in the panel"}
    assert [result.skill_id for result in report.skills] == ["s0001"]
    with pytest.raises(RetestError, match=r"types book, coin, lamp, rope, and none of the skills' \(boat\)"):
        retest(bank, [bank["s0002"]], TYPE_OF, play_with(ToyPolicy()))
    with pytest.raises(RetestError, match="pairs=0"):
        retest(bank, [bank["s0001"]], TYPE_OF, play_with(ToyPolicy()), pairs=0)


def test_which_skills_are_tested():
    bank = bank_of(USEFUL, USELESS)
    for i in range(12):
        bank.record(TreatmentEffect("g", "s0002", -1.0, 0.0, 1.0, 4, 4), f"later-{i}", 30 + i)
    bank.add("c", "never tested", "coin", Provenance("m", "t", 1))
    assert [bank[i].status for i in bank.skills] == ["active", "retired", "candidate"]
    assert [s.skill_id for s in choose_skills(bank)] == ["s0001"]
    assert [s.skill_id for s in choose_skills(bank, ever_active=True)] == ["s0001", "s0002"]
    assert [s.skill_id for s in choose_skills(bank, ["s0003"])] == ["s0003"]
    with pytest.raises(RetestError, match="s0009: not among the 3 skills"):
        choose_skills(bank, ["s0009"])


def text(table):
    console = Console(width=220, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_table_and_json_say_the_same():
    bank = bank_of(USEFUL)
    report = retest(bank, choose_skills(bank), TYPE_OF, play_with(ToyPolicy()), pairs=16, seed=3)
    content = json.loads(report_json(report, {"model": {"name": "toy"}, "seed": 3}))
    (skill,) = content["skills"]
    assert content["version"] == 1
    assert content["model"] == {"name": "toy"}
    assert len(content["pairs"]) == 16
    assert skill["success"]["pairs"] == 16 and skill["block"] == bank["s0001"].block
    shown = text(retest_table(report))
    effect = skill["success"]
    for part in (f"{effect['plain']:.3f}", f"{effect['effect']:+.3f}", f"{effect['low']:+.3f} to", "+1.000 of 8"):
        assert part in shown
    assert sum(pair["skill"] - pair["plain"] for pair in content["pairs"]) / 16 == pytest.approx(effect["effect"])


def test_panels_are_read_in_both_forms_and_checked(tmp_path):
    panel = make_panel("toy", {}, "validation")
    panel.write(tmp_path / "p.json")
    write_dataset(panel, tmp_path / "p.parquet")
    assert panel_tasks(tmp_path / "p.json", "toy") == panel_tasks(tmp_path / "p.parquet", "toy") == TASKS
    for name in ("p.json", "p.parquet"):
        with pytest.raises(RetestError, match=f"{name}: tasks of toy; the run's environment is webshop"):
            panel_tasks(tmp_path / name, "webshop")
    for name in ("q.json", "q.parquet"):
        with pytest.raises(PanelError, match="no such panel file"):
            panel_tasks(tmp_path / name, "toy")
    (tmp_path / "r.parquet").write_text("x")
    with pytest.raises(PanelError, match="r.parquet: not readable as parquet"):
        panel_tasks(tmp_path / "r.parquet", "toy")
    Panel("other", ("a",)).write(tmp_path / "o.json")
    with pytest.raises(RetestError, match="tasks of other"):
        panel_tasks(tmp_path / "o.json", "toy")

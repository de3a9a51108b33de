# SPDX-License-Identifier: Apache-2.0
"""A run's story in words: it says what bank and metrics say, for runs with skills and without."""

import inspect
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.story_run import TYPES, simulate
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.core.deciding_tokens import deciding_metrics
from siri_verl.core.internalization import InternalizationSettings, weight_column
from siri_verl.core.phases import PHASES, Census, PhaseMachine, PhaseSettings
from siri_verl.core.rules import ACTIVE, RETIRED
from siri_verl.report import words
from siri_verl.report.reader import Series, phase_spans, read_run
from siri_verl.report.skills import utility_paths
from siri_verl.report.words import describe
from siri_verl.runs.metrics import MetricsLog
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import BankFileError, save_bank
from siri_verl.skills.skill import Provenance
from siri_verl.training.metrics import phase_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("story") / "run"
    simulate(folder, steps=60)
    return folder


@pytest.fixture(scope="module")
def told(run):
    return describe(read_run(run))


def section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def flat(text):
    return " ".join(text.split())


def test_phases_with_their_steps_and_arms(run, told):
    story = read_run(run)
    assert [span.phase for span in story.spans] == list(PHASES)
    assert story.spans[0].first == 1 and story.spans[-1].last == 60
    for span, name in zip(story.spans, ("warm-up", "mining", "internalization"), strict=True):
        plain = np.mean([story.train[s]["siri/success_plain_arm"] for s in range(span.first, span.last + 1)])
        assert f"- **{name}**: steps {span.first} to {span.last}; success of the plain arm {plain:.2f}" in told
    covered = int(story.train[story.spans[1].last]["siri/bank/active_types"])
    assert f"at its end {covered} of 6 task types had an active skill" in told
    env_steps = story.train[60]["siri/env_steps_total"]
    assert f"60 training steps, {env_steps:,.0f} environment steps" in told


def test_validation_from_the_first_to_the_last(run, told):
    story = read_run(run)
    for step in (0, 60):
        m = story.validation[step]
        interval = f"({m['siri/val/success_low']:.3f} to {m['siri/val/success_high']:.3f})"
        assert f"{m['siri/val/success']:.3f} {interval} at step {step}" in told


def test_every_promoted_skill_is_told_with_its_decisions(run, told):
    bank = read_run(run).bank
    promoted = [s for s in bank.skills.values() if any(d.after == ACTIVE for d in s.decisions)]
    assert len(promoted) >= 4, "the simulation must have something to tell"
    assert re.findall(r"^### (s\d+)", told, re.MULTILINE) == [
        s.skill_id for s in sorted(promoted, key=lambda s: (s.decisions[0].step, s.skill_id))
    ]
    for skill in promoted:
        part = told.split(f"### {skill.skill_id}: ")[1].split("\n### ")[0].split("\n## ")[0]
        assert skill.block in part and f"mined at step {skill.provenance.step} by policy" in part
        for decision in skill.decisions:
            verb = {ACTIVE: "promoted", RETIRED: "retired"}[decision.after]
            assert f"- {verb} at step {decision.step}: {decision.reason}" in part
        early = np.mean([e.plain_mean for e in skill.evidence[:8]])
        assert len(skill.evidence) < 16 or f"first 8 groups: plain {early:.2f}" in part
        assert f"validation of {skill.task_type}: " in part


def test_the_bank_is_counted_once(run, told):
    bank = read_run(run).bank
    skills = bank.skills.values()
    part = flat(section(told, "The bank"))
    turned_away = dict(re.findall(r"(duplicate|no_condition_and_strategy) (\d+)", part))
    asked = len(bank) + sum(map(int, turned_away.values()))
    assert len(turned_away) == 2
    assert part.startswith(f"{len(bank)} skills entered, out of {asked} answers of the miner")
    groups = sum(len(s.evidence) for s in skills)
    assert f"{sum(bool(s.evidence) for s in skills)} were tested, in {groups} paired groups" in part
    never = [s for s in skills if s.status == RETIRED and len(s.decisions) == 1]
    assert f"{len(never)} retired without promotion" in part
    table = section(told, "Skills that were not promoted")
    rows = [line for line in table.splitlines() if line.startswith("| s0")]
    others = [s for s in skills if not any(d.after == ACTIVE for d in s.decisions)]
    assert len(rows) == len(others) <= words.LONGEST
    for skill in never:
        assert f"| retired at step {skill.decisions[0].step}: {skill.decisions[0].reason} |" in table


def test_long_banks_are_cut_and_say_so(run, monkeypatch):
    monkeypatch.setattr(words, "LONGEST", 2)
    text = describe(read_run(run))
    assert len(re.findall(r"^### s\d+", text, re.MULTILINE)) == 2
    assert re.search(r"and \d+ more: `siri-verl skills list RUN --status active`", text)
    assert re.search(r"and \d+ more: `siri-verl skills list RUN`", text)


def test_internalization_in_numbers_that_the_control_can_use(run, told):
    story = read_run(run)
    span = story.spans[-1]
    steps = range(span.first, span.last + 1)
    tokens = [story.train[s]["siri/internalization/tokens_gated"] for s in steps]
    part = section(told, "Internalization")
    assert f"`TOKENS={round(np.mean(tokens))} MINING_STEPS={story.spans[1].steps}`" in part
    assert f"in {span.steps} of {span.steps} steps" in part and "lambda reached 0.1" in part
    known = story.train[span.first]["siri/internalization/plain_log_prob_mean"]
    assert f"mean log-prob of all gated tokens on the plain prompt: {known:.2f} in the first step" in part
    deciding = story.train[span.first]["siri/internalization/deciding_plain_log_prob_mean"]
    assert f"mean log-prob of deciding tokens on the plain prompt: {deciding:.2f} in the first step" in part
    share = np.mean([story.train[s]["siri/internalization/deciding_share"] for s in steps])
    assert f"{share:.1%} of the tokens of positive weight" in part


@pytest.mark.parametrize("rule", ["ema", "sequential"])
def test_utilities_played_again_end_where_the_bank_is(rule, tmp_path):
    bank = simulate(tmp_path, steps=40, rule=rule)
    paths = utility_paths(read_run(tmp_path).bank)
    tested = {skill.skill_id for skill in bank.skills.values() if skill.evidence}
    assert paths.keys() == tested and any(path.decisions for path in paths.values())
    for skill_id, path in paths.items():
        skill = bank[skill_id]
        assert path.steps == [e.step for e in skill.evidence]
        assert [decision for decision, _ in path.decisions] == skill.decisions
        # Under `sequential` later groups of other skills move the shrunken effect a little.
        assert path.utility[-1] == pytest.approx(bank.utility(skill_id), abs=1e-9 if rule == "ema" else 0.1)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
def test_spans_cover_every_step_once(indices):
    phases = sorted(indices)
    spans = phase_spans(Series(np.arange(1, len(phases) + 1), np.array(phases, dtype=float)))
    covered = [(step, span.phase) for span in spans for step in range(span.first, span.last + 1)]
    assert covered == [(i + 1, PHASES[k]) for i, k in enumerate(phases)]
    assert sum(span.steps for span in spans) == len(phases)


def test_a_run_that_stayed_in_warm_up(tmp_path):
    simulate(tmp_path, steps=10, skills=False)
    text = describe(read_run(tmp_path))
    assert "No skills: the run stayed in warm-up." in text and "**warm-up**: steps 1 to 10" in text
    assert "Internalization" not in text and "skill arm" not in text


def test_runs_of_which_little_is_known(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl").write("train", 1, {"actor/loss": 0.5})
    text = describe(read_run(tmp_path))
    assert "1 training steps." in text
    assert "No validation was made." in text
    assert "No skills: none was mined." in text
    log = MetricsLog(tmp_path / "asked" / "metrics.jsonl")
    log.write("train", 1, {"siri/phase": 1, "siri/mining/requests": 6, "siri/mining/turned_away/leak": 6})
    text = describe(read_run(tmp_path / "asked"))
    assert "No skills: all of 6 answers of the miner were turned away (leak 6)." in text


def test_folders_without_a_run_and_damaged_banks_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="default_local_dir"):
        read_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no metrics yet"):
        read_run(tmp_path)
    simulate(tmp_path, steps=3)
    with (tmp_path / "skills.jsonl").open("a") as file:
        file.write('{"record": "dec')
    with pytest.raises(BankFileError, match="ends in the middle of a line"):
        read_run(tmp_path)


def test_text_of_a_model_stays_text(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl").write("train", 1, {"siri/phase": 1})
    bank = SkillBank()
    bank.add(
        "*all* | tasks", "[click](http://x) <b>here</b> `now` # done " + "very " * 90, "a|b", Provenance("t", "r", 1)
    )
    save_bank(bank, tmp_path / "skills.jsonl")
    row = next(line for line in describe(read_run(tmp_path)).splitlines() if line.startswith("| s0001"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 8, "seven cells"
    for part in (r"\*all\*", r"a\|b", r"\[click\](http://x)", r"\<b\>here", r"\`now\`", r"\# done"):
        assert part in row


def test_the_control_run_says_what_was_shown(tmp_path):
    simulate(tmp_path, steps=40, control="click features , then search")
    text = describe(read_run(tmp_path))
    active = [skill for skill in read_run(tmp_path).bank.skills.values() if skill.status == ACTIVE]
    assert active
    for skill in active:
        assert f"> When {skill.condition}: click features , then search" in text
        assert f"since promotion a random summary was shown in place of {skill.strategy}" in text


def test_the_metrics_it_reads_are_those_the_trainer_writes():
    names = set(phase_metrics(PhaseMachine(PhaseSettings()), Census()))
    assert {f"siri/bank/{n}" for n in ("candidate", "active", "retired", "task_types", "active_types")} <= names
    assert "siri/phase" in names
    column = weight_column(
        [True], [1.0], np.ones((1, 3), bool), InternalizationSettings(), plain_log_prob=-np.ones((1, 3))
    )
    from siri_verl.training import internalization_weights, metrics, step, trainer

    deciding = deciding_metrics([-1.0], [-0.1])
    outside = {"lambda", "plain_log_prob_weighted_mean", *deciding}
    assert {name for name in words.GATE_METRICS if name.startswith("deciding")} <= deciding.keys()
    assert set(words.GATE_METRICS) - outside <= column.metrics.keys()
    assert '"plain_log_prob_weighted_mean"' in inspect.getsource(internalization_weights)
    source = "".join(inspect.getsource(module) for module in (metrics, step, trainer))
    for name in ("siri/internalization/lambda", "siri/env_steps_total", "siri/skill_dropped_groups", "siri/success_"):
        assert name in source


def test_the_command_writes_words_and_pictures(run, tmp_path):
    done = CliRunner().invoke(app, ["story", str(run), "--out", str(tmp_path / "s")], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    assert "Promoted skills" in done.output and "written: " in done.output
    text = (tmp_path / "s" / "story.md").read_text()
    assert text.startswith(describe(read_run(run)))
    for name in re.findall(r"!\[[^]]+\]\((\w+\.png)\)", text):
        assert (tmp_path / "s" / name).read_bytes().startswith(b"\x89PNG")
    assert len(re.findall(r"\.png\)", text)) == 6
    done = CliRunner().invoke(app, ["story", str(tmp_path)])
    assert done.exit_code == 1 and "default_local_dir" in " ".join(done.output.split())


def test_task_types_of_the_simulation_have_validation_by_category(run):
    story = read_run(run)
    assert all(len(story.validation_of(name)) == 13 for name in TYPES) and not len(story.validation_of("boat"))
    assert json.loads((run / "skills.jsonl").read_text().splitlines()[0])["version"] == 1

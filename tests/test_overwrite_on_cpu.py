# SPDX-License-Identifier: Apache-2.0
"""No command replaces a file of the user that it does not name: each is run with one in the way of every output."""

import json
import shutil
import zipfile

import pytest
import typer
from support.shop_files import write_shop
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.alfworld.download import ARCHIVES

MINE = '["mine"]'

SHOP = "--products SHOP/products.json --attributes SHOP/attributes.json"
# Command -> its words, and the files that are in the way; OUT is a folder.
IN_THE_WAY = {
    "data webshop": (f"{SHOP} --out OUT", ["manifest.json", "x"]),
    "data webshop-demo": ("--out OUT --products 1152", ["official/items_shuffle.json", "store/manifest.json"]),
    "data alfworld-demo": ("--out OUT", ["json_2.1.1/train/x/y/game.tw-pddl"]),
    "data alfworld": ("--out OUT --archives ARCHIVES", ["json_2.1.1/train/x/y/game.tw-pddl", "games.json"]),
    "data panel": ("toy --split train --out OUT/p.parquet", ["p.json", "p.parquet"]),
    "data model": ("MODEL/model.gguf --out OUT", ["config.json"]),
    "report": ("RUN --out OUT", ["report.html", "pictures/a.png", "learning_curve.png"]),
    "story": ("RUN --out OUT", ["story.md", "success.png"]),
    "eval": ("MODEL --env toy --out OUT", ["summary.json"]),
    "export": ("RUN --out OUT", ["config.json"]),
    "docs": ("--out OUT", ["configuration.md"]),
    "new-env": ("my_shop --folder OUT", ["my_shop.py", "test_my_shop.py"]),
}
NAMED_FILE = {"curve", "plan", "skills retest"}
"""Commands that write the file that --out names, and no other."""
APPENDING = {"stage"}
"""Commands that add to the file that --log names."""
READING = {"doctor", "check-env", "watch", "summary", "skills list", "skills show", "skills history", "skills diff"}
TAKES_OVERWRITE = {"data webshop", "data webshop-demo", "data alfworld-demo", "report", "story"}
MARKS = {"manifest.json", "report.html", "story.md"}
"""What tells a folder of such a command from others; with --overwrite it is replaced."""
CASES = [
    (command, words, file, more)
    for command, (words, files) in IN_THE_WAY.items()
    for file in files
    for more in ([], ["--overwrite"])
    if not more or (command in TAKES_OVERWRITE and file not in MARKS)
]


def leaves(command, name=""):
    """Names of all commands."""
    if not isinstance(command, typer.core.TyperGroup):
        return {name.strip()}
    return {leaf for word, inner in command.commands.items() for leaf in leaves(inner, f"{name} {word}")}


def test_every_command_is_looked_at():
    assert leaves(typer.main.get_command(app)) == {*IN_THE_WAY, *NAMED_FILE, *APPENDING, *READING}


@pytest.fixture
def words(tmp_path):
    """The words of a command with paths in place of names."""
    for name in ("SHOP", "ARCHIVES", "RUN", "MODEL"):
        (tmp_path / name).mkdir()
    write_shop(tmp_path / "SHOP", 3)
    (tmp_path / "MODEL" / "model.gguf").write_bytes(b"GGUF")
    for url in ARCHIVES.values():
        with zipfile.ZipFile(tmp_path / "ARCHIVES" / url.rsplit("/", 1)[1], "w") as archive:
            archive.writestr("json_2.1.1/train/x/y/game.tw-pddl", "another game")

    def filled(command, text):
        for name in ("SHOP", "ARCHIVES", "RUN", "MODEL", "OUT"):
            text = text.replace(name, str(tmp_path / name))
        return [*command.split(), *text.split()]

    return filled


@pytest.mark.parametrize(("command", "text", "name", "more"), CASES)
def test_a_file_in_the_way_is_kept_and_named(tmp_path, words, command, text, name, more):
    file = tmp_path / "OUT" / name
    file.parent.mkdir(parents=True)
    file.write_text(MINE)
    done = CliRunner().invoke(app, [*words(command, text), *more])
    assert done.exit_code == 1 and done.output.startswith("error") and str(tmp_path / "OUT") in done.output, done.output
    assert file.read_text() == MINE
    assert [path for path in (tmp_path / "OUT").rglob("*") if path.is_file()] == [file]


def test_a_panel_is_written_again_but_not_over_another(tmp_path, words):
    out = tmp_path / "all.parquet"
    run = CliRunner().invoke
    again = ["data", "panel", "toy", "--split", "train", "--out", str(out)]
    assert [run(app, again).exit_code for _ in range(2)] == [0, 0]
    # from a panel file to its neighbour, as the documentation has it
    shutil.copy(tmp_path / "all.json", tmp_path / "train.json")
    narrower = ["data", "panel", str(tmp_path / "train.json"), "--size", "8", "--out", str(tmp_path / "train.parquet")]
    done = run(app, narrower)
    assert done.exit_code == 1 and "train.json: exists already" in done.output
    assert len(json.loads((tmp_path / "train.json").read_text())["task_ids"]) > 8
    assert run(app, [*narrower, "--overwrite"]).exit_code == 0
    assert len(json.loads((tmp_path / "train.json").read_text())["task_ids"]) == 8


def test_the_last_line_of_another_file_is_not_cut_off(tmp_path):
    from siri_verl.evaluation.log import TrajectoryFileError, TrajectoryLog

    file = tmp_path / "trajectories.jsonl"
    file.write_text('{"mine": 1}\n{"mine": 2}')
    with pytest.raises(TrajectoryFileError):
        TrajectoryLog(file, {})
    assert file.read_text() == '{"mine": 1}\n{"mine": 2}'

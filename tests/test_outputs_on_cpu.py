# SPDX-License-Identifier: Apache-2.0
"""Folders that are written: killed at any moment, started twice at once, and with files of the user in the way."""

import signal
import subprocess
import sys
import zipfile

import pytest
from support.shop_files import write_shop

from siri_verl.demos.webshop import generator
from siri_verl.envs.webshop import Catalog
from siri_verl.envs.webshop.prepare import prepare
from siri_verl.outputs import check_free, exclusive, new_folder

SHOP = {"parts": ("a*", "sub"), "mark": "a.txt"}


def python(code, *args):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def write(out, text="new", **kwargs):
    with exclusive(out), new_folder(out, "a shop", **SHOP, **kwargs) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "sub").mkdir()


def test_a_folder_appears_when_it_is_complete(tmp_path):
    out = tmp_path / "deep" / "shop"
    with exclusive(out), new_folder(out) as folder:
        (folder / "a.txt").write_text("x")
        assert not out.exists()
    assert (out / "a.txt").read_text() == "x" and hidden(out.parent) == []
    (tmp_path / "other").mkdir()
    assert out.stat().st_mode == (tmp_path / "other").stat().st_mode  # others may read it as far as the umask lets them


def test_nothing_is_left_of_a_block_that_failed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with exclusive(tmp_path / "shop"), new_folder(tmp_path / "shop") as folder:
            (folder / "a.txt").write_text("x")
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_result_and_blocks_nobody(tmp_path):
    code = (
        "import sys, time, pathlib; from siri_verl.outputs import exclusive, new_folder\n"
        "out = pathlib.Path(sys.argv[1])\n"
        "with exclusive(out), new_folder(out) as folder:\n"
        "    (folder / 'a.txt').write_text('x'); print('begun', flush=True); time.sleep(600)"
    )
    out = tmp_path / "shop"
    writer = python(code, out)
    assert writer.stdout.readline() == b"begun\n"
    with pytest.raises(FileExistsError, match="another process is writing it"):
        write(out)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not out.exists() and hidden(tmp_path)
    write(out)
    assert (out / "a.txt").read_text() == "new" and hidden(tmp_path) == []


def test_a_waiting_process_goes_on_when_the_lock_is_free(tmp_path):
    code = (
        "import sys, pathlib; from siri_verl.outputs import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), wait=True): print('in')"
    )
    with exclusive(tmp_path / "x"):
        waiting = [python(code, tmp_path / "x") for _ in range(3)]
        for process in waiting:
            assert b"waiting" in process.stderr.readline()
    assert [process.communicate()[0] for process in waiting] == [b"in\n"] * 3
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_when_asked_for_and_alone(tmp_path):
    out = tmp_path / "shop"
    out.mkdir()
    write(out, "old")  # into an empty folder
    with pytest.raises(FileExistsError, match="exists already; choose another folder$"):
        write(out)
    with pytest.raises(FileExistsError, match="overwrite"):
        write(out, overwrite=False)
    write(out, overwrite=True)
    assert (out / "a.txt").read_text() == "new"
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds thesis\.txt beside a shop"):
        write(out, overwrite=True)
    (out / "a.txt").unlink()
    with pytest.raises(FileExistsError, match="is not a shop"):
        write(out, overwrite=True)
    assert (out / "thesis.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for other in ("file", "dangling"):
        with pytest.raises(FileExistsError):
            check_free(tmp_path / other, "a shop", **SHOP, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_one_of_several_preparations_wins(tmp_path, overwrite):
    """Other seeds mean other task ids: a store that was replaced fits no panel any more."""
    paths = write_shop(tmp_path, 300)
    out = tmp_path / "store"
    code = (
        "import sys; from siri_verl.envs.webshop.prepare import prepare; p, a, out, seed = sys.argv[1:]\n"
        f"prepare(p, a, out, seed=int(seed), overwrite={overwrite}, show_progress=False)"
    )
    runs = [python(code, paths["products"], paths["attributes"], out, seed) for seed in (1, 2, 3)]
    errors = [run.communicate()[1].decode() for run in runs]
    done = [seed for seed, run in enumerate(runs, 1) if run.returncode == 0]
    assert all("FileExistsError" in error for error, run in zip(errors, runs, strict=True) if run.returncode)
    assert done and (overwrite or len(done) == 1)
    catalog = Catalog.open(out)
    assert catalog.manifest["seed"] in done and len(catalog.goals) == 300 and hidden(tmp_path) == []


def test_an_interrupted_demo_shop_can_be_made_again(tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    shop = {"out": tmp_path / "shop", "products": generator.MIN_PRODUCTS}
    with monkeypatch.context() as patched:
        patched.setattr(generator, "_write_splits", stop)
        with pytest.raises(KeyboardInterrupt):
            generator.generate(**shop)
    assert list(tmp_path.iterdir()) == []
    generator.generate(**shop)
    assert sorted(path.name for path in shop["out"].iterdir()) == ["official", "panels.json", "store"]
    with pytest.raises(FileExistsError, match="overwrite"):
        generator.generate(**shop)


def test_a_file_in_the_way_of_the_demo_shop_is_kept(tmp_path):
    file = tmp_path / "shop" / "official" / "items_shuffle.json"
    file.parent.mkdir(parents=True)
    file.write_text('["my download"]')
    for overwrite in (False, True):
        with pytest.raises(FileExistsError):
            generator.generate(tmp_path / "shop", products=generator.MIN_PRODUCTS, overwrite=overwrite)
    assert file.read_text() == '["my download"]'


def test_one_archive_unpacked_by_several_processes(tmp_path):
    archive = tmp_path / "games.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for number in range(500):
            content.writestr(f"json_2.1.1/train/task{number}/trial/game.tw-pddl", f"game {number}")
    code = (
        "import sys; from siri_verl.envs.alfworld.download import download\n"
        "download(sys.argv[1], archives={'tw-pddl': sys.argv[2]})"
    )
    runs = [python(code, tmp_path / "out", archive) for _ in range(3)]
    assert [run.communicate()[1].decode() for run in runs if run.wait()] == []
    games = sorted((tmp_path / "out").rglob("*.tw-pddl"))
    assert len(games) == 500 and not list((tmp_path / "out").rglob("*.part"))


def test_a_store_that_is_replaced_keeps_what_is_not_its_own(tmp_path):
    paths = write_shop(tmp_path, 3)
    prepare(**paths, out=tmp_path / "store", show_progress=False)
    (tmp_path / "store" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt beside a prepared catalogue"):
        prepare(**paths, out=tmp_path / "store", overwrite=True, show_progress=False)
    assert (tmp_path / "store" / "notes.txt").read_text() == "mine"

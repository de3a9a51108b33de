# SPDX-License-Identifier: Apache-2.0
"""The download on small archives: from a server of this process, broken off, from disk."""

import hashlib
import http.server
import threading
import zipfile

import pytest
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.alfworld import download as module
from siri_verl.envs.alfworld.download import ARCHIVES, DownloadError, download
from siri_verl.envs.alfworld.games import GameFolder

FILES = {"json": "traj_data.json", "pddl": "initial_state.pddl", "tw-pddl": "game.tw-pddl"}


@pytest.fixture
def archives(small_games, tmp_path):
    """Part -> archive under its official name, made of generated games."""
    folder = tmp_path / "archives"
    folder.mkdir()
    made = {}
    for part, url in ARCHIVES.items():
        made[part] = folder / url.rsplit("/", 1)[1]
        with zipfile.ZipFile(made[part], "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((small_games / "json_2.1.1").rglob(FILES[part])):
                archive.write(file, file.relative_to(small_games))
            archive.writestr("logic/readme.txt", "not of the games")
    return made


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> bytes), understands ranges, and can break off once."""

    def __init__(self):
        self.files, self.asked, self.break_off = {}, [], False
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        content, begin = self.server.files.get(self.path), self.headers.get("Range")
        self.server.asked.append((self.path, begin))
        if content is None:
            return self.send_error(404)
        start = int(begin.removeprefix("bytes=").rstrip("-")) if begin else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) // 2 if self.server.break_off else len(content)
        self.server.break_off = False
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def test_official_archives_become_a_folder_of_games(archives, server, tmp_path, small_games):
    urls = {}
    for part, path in archives.items():
        server.files[f"/{path.name}"] = path.read_bytes()
        urls[part] = f"{server.url}/{path.name}"
    said = []
    out = download(tmp_path / "out", archives=urls, say=said.append)
    for split in ("train", "valid_seen", "valid_unseen"):
        names = list(GameFolder(out).listing(split).games)
        assert names == list(GameFolder(small_games).listing(split).games)
    assert not (out / "logic").exists()
    assert not list(out.rglob("*.part"))
    assert not list(out.glob("*.zip"))
    assert said[-1] == "tw-pddl: 24 files" and len(server.asked) == 3
    download(out, archives=urls, say=said.append)
    assert len(server.asked) == 3 and said[-1] == "tw-pddl: unpacked already"


def test_a_broken_connection_is_named_and_gone_on_from(archives, server, tmp_path):
    content = archives["json"].read_bytes()
    server.files["/a.zip"], server.break_off = content, True
    with pytest.raises(DownloadError, match="json: .*try again"):
        download(tmp_path / "out", archives={"json": f"{server.url}/a.zip"})
    download(tmp_path / "out", archives={"json": f"{server.url}/a.zip"})
    assert server.asked[1][1] == f"bytes={len(content) // 2}-"
    assert len(list((tmp_path / "out").rglob("traj_data.json"))) == 24


@pytest.mark.parametrize("path, message", [("/none.zip", "answered 404; fetch http.* by other means")])
def test_an_answer_without_a_file_is_named(server, tmp_path, path, message):
    with pytest.raises(DownloadError, match=message):
        download(tmp_path / "out", archives={"json": server.url + path})


def test_no_connection_is_named(tmp_path):
    with pytest.raises(DownloadError, match="json: http://127.0.0.1:9/a.zip: .*unpack it in"):
        download(tmp_path / "out", archives={"json": "http://127.0.0.1:9/a.zip"})


def test_what_is_no_archive_is_named_and_thrown_away(server, tmp_path):
    server.files["/a.zip"] = b"<html>quota exceeded</html>"
    with pytest.raises(DownloadError, match="json.zip: not a usable archive"):
        download(tmp_path / "out", archives={"json": f"{server.url}/a.zip"})
    assert not (tmp_path / "out" / "json.zip").exists()


def archive_with(path, name):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "text")
    return str(path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("../outside.txt", "leads out of the folder"),
        ("/etc/outside.txt", "leads out of the folder"),
        ("other/traj_data.json", "holds nothing below json_2.1.1/"),
    ],
)
def test_wrong_archives_are_refused(tmp_path, name, message):
    archive = archive_with(tmp_path / "a.zip", name)
    with pytest.raises(DownloadError, match=message):
        download(tmp_path / "out", archives={"json": archive})
    assert not (tmp_path / "outside.txt").exists()
    assert (tmp_path / "a.zip").is_file(), "an archive of the user's own is left alone"


def test_unknown_parts_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown parts \['images'\]; known are json, pddl, tw-pddl"):
        download(tmp_path, archives={"images": "x"})


def test_the_command_unpacks_archives_fetched_by_hand_and_counts(archives, tmp_path):
    folder = next(iter(archives.values())).parent
    done = CliRunner().invoke(app, ["data", "alfworld", "--archives", str(folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "train: 12 games (officially 3553)" in done.output and "valid_unseen: 6 games" in done.output


def test_the_command_says_how_to_get_games(tmp_path):
    done = CliRunner().invoke(app, ["data", "alfworld", "--out", str(tmp_path / "none")])
    assert done.exit_code == 1 and "siri-verl data alfworld --download" in done.stderr


def test_the_published_places_are_https_releases_of_the_right_grammar():
    assert module.ARCHIVES["tw-pddl"].endswith("/0.4.0/json_2.1.2_tw-pddl.zip")
    assert all(url.startswith("https://github.com/alfworld/alfworld/releases/download/") for url in ARCHIVES.values())


def test_a_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("json_2.1.1/train/a/traj_data.json")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("json_2.1.1/train/b/traj_data.json", "{}")
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="is a link; nothing was unpacked"):
        download(tmp_path / "out", archives={"json": str(tmp_path / "a.zip")})
    assert not list((tmp_path / "out").rglob("traj_data.json"))


def test_an_archive_that_unpacks_to_more_than_games_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("json_2.1.1/train/a/traj_data.json", " " * 1001)
    with pytest.raises(DownloadError, match="has 1,001 bytes; no game has so many"):
        download(tmp_path / "out", archives={"json": str(tmp_path / "a.zip")})
    monkeypatch.setattr(module, "LARGEST_FILE", 2000)
    monkeypatch.setattr(module, "LARGEST_ALL", 1000)
    with pytest.raises(DownloadError, match="1,001 bytes; the games have less"):
        download(tmp_path / "out", archives={"json": str(tmp_path / "a.zip")})


def test_an_archive_is_checked_against_a_hash_that_is_given(archives, tmp_path):
    archive = archives["json"]
    with pytest.raises(DownloadError, match="sha256 .*, expected 00ff"):
        download(tmp_path / "out", archives={"json": f"{archive}#sha256=00ff"})
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    download(tmp_path / "out", archives={"json": f"{archive}#sha256={digest}"})
    assert len(list((tmp_path / "out").rglob("traj_data.json"))) == 24

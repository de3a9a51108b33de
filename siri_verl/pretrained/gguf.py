# SPDX-License-Identifier: Apache-2.0
"""A GGUF file becomes a Hugging Face folder, once.

transformers reads the weights (package `gguf`) and turns quantised ones into float32; the folder holds them in float32.
`source.json` in the folder names the file and its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from siri_verl.failures import ConfigError
from siri_verl.files import write_text_atomically
from siri_verl.outputs import exclusive, is_empty, new_folder
from siri_verl.pretrained.gguf_tokenizer import read_tokenizer

SOURCE = "source.json"


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_model(out: Path, source: dict[str, Any], write: Callable[[Path], None]) -> bool:
    """Write a model's folder, complete or not at all, unless it is there already.

    Args:
        out: the folder.
        source: where the model comes from, kept in `source.json`.
        write: writes the model into a folder.

    Returns:
        Whether it was written now.

    Raises:
        FileExistsError: `out` holds something else, or a model of another source.
    """
    with exclusive(out, wait=True):
        if not is_empty(out):
            made = source_of(out)
            if made != source:
                was = "something else" if made is None else f"a model of {made}"
                raise FileExistsError(f"{out}: holds {was}, not of {source}; choose another folder or remove this one")
            return False
        with new_folder(out) as folder:
            write(folder)
            write_text_atomically(folder / SOURCE, json.dumps(source, indent=2) + "\n")
    return True


def source_of(folder: Path) -> dict[str, Any] | None:
    """What `write_model` kept about a folder; None where it did not write it."""
    try:
        return json.loads((folder / SOURCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def convert(file: Path, out: Path) -> bool:
    """Convert a GGUF file into a Hugging Face folder.

    Returns:
        Whether it was converted now; False where the folder holds the result already.

    Raises:
        FileExistsError: `out` holds something else.
        ConfigError: the file is no GGUF file, or its model or tokenizer is not supported.
    """
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    source = {"file": file.name, "sha256": sha256_of(file)}
    return write_model(out, source, lambda folder: _write(file, folder))


def metadata(file: Path) -> dict[str, Any]:
    """The fields of a GGUF file.

    Raises:
        ConfigError: the package gguf is missing, or the file is no GGUF file.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ConfigError(f"{file}: GGUF files need the package gguf (`pip install 'siri_verl[gguf]'`)") from error
    try:
        reader = GGUFReader(file)
    except ValueError as error:
        raise ConfigError(f"{file}: is no GGUF file ({error})") from error
    return {name: field.contents() for name, field in reader.fields.items()}


def _write(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = read_tokenizer(metadata(file), str(file))
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            file.absolute().parent, gguf_file=file.name, dtype=torch.float32, output_loading_info=True
        )
    except (ValueError, NotImplementedError, KeyError) as error:
        raise ConfigError(
            f"{file}: transformers does not read it ({error}); give the model's Hugging Face folder"
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise ConfigError(f"{file}: lacks weights of its model: {', '.join(missing[:3])}")
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    for config in (model.config, model.generation_config):
        for name, value in ids.items():
            setattr(config, name, value)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

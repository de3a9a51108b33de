# SPDX-License-Identifier: Apache-2.0
"""Which runs are repetitions of one method: those whose settings differ in seeds, names and places alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from siri_verl.report.reader import Run
from siri_verl.settings.schema import SiriSettings

NEUTRAL = re.compile(
    r"(.*\.)?(\w*seed)$"
    r"|siri\.method$"
    r"|trainer\.(experiment_name|project_name|default_local_dir|default_hdfs_dir|logger|resume_\w+|save_freq)$"
    r"|trainer\.(max_\w*ckpt_to_keep|val_before_train|log_val_generations|rollout_data_dir|validation_data_dir)$"
    r"|.*\.(load_checkpoint_path|checkpoint\..*)$"
    r"|(ray_kwargs|siri\.samples|global_profiler|transfer_\w+)\..*"
)
"""Settings that do not make another method: seeds, names, places, what is saved and logged."""
MISSING = "(not set)"


@dataclass(frozen=True)
class Method:
    """Runs that differ in their seed only.

    Attributes:
        name: unique in the report.
        runs: in order of seed.
        settings: what they share, without what does not matter.
    """

    name: str
    runs: Sequence[Run]
    settings: Mapping[str, Any]

    @property
    def seeds(self) -> list[int | None]:
        """Of its runs."""
        return [run.seed for run in self.runs]


def group_runs(
    runs: Sequence[Run], labels: Sequence[tuple[str, str]] = (), group_by: Sequence[str] = ()
) -> list[Method]:
    """Put repetitions together.

    Args:
        runs: of the report.
        labels: (method, pattern of run names); the first that matches names a run's method, whatever its settings.
        group_by: settings to group by, in place of all.

    Raises:
        ValueError: a pattern matches no run, no run has a setting of `group_by`, or two runs of a method have one
            seed; the message states what to do.
    """
    for name, pattern in labels:
        if not any(_matches(run, pattern) for run in runs):
            known = ", ".join(run.name for run in runs)
            raise ValueError(f"--label {name}={pattern}: matches none of the runs {known}; use a name or a pattern")
    for key in group_by:
        if not any(key in run.config for run in runs):
            raise ValueError(f"--group-by {key}: no run has this setting; use a dotted name of config.yaml")
    grouped: dict[Any, list[Run]] = {}
    for run in runs:
        label = next((name for name, pattern in labels if _matches(run, pattern)), None)
        grouped.setdefault(("label", label) if label else _identity(run, group_by), []).append(run)
    members = [sorted(group, key=lambda r: (r.seed is None, r.seed, r.name)) for group in grouped.values()]
    settings = [_shared(group) for group in members]
    names = [
        key[1] if key[0] == "label" else method_name(group[0]) for key, group in zip(grouped, members, strict=True)
    ]
    names = _distinct_names(names, settings, members)
    methods = [Method(*values) for values in zip(names, members, settings, strict=True)]
    for method in methods:
        _check_seeds(method)
    return methods


def method_name(run: Run) -> str:
    """A short name of the run's method: its `siri.method`.

    A run with the default name, or an older one without a name, is named after the settings that were changed one by
    one: `gigpo`, `siri_no_gate`. A run without settings has its own name.
    """
    config = run.config
    named = config.get("siri.method")
    if named not in (None, SiriSettings.method):
        return str(named)
    estimator = str(config.get("algorithm.adv_estimator") or run.name)
    if not config or "siri.phases.fixed" not in config or config["siri.phases.fixed"] == "warm_up":
        return estimator
    if config.get("siri.internalization.source") == "self_imitation":
        return f"{estimator}_self_imitation"
    base = "siri" if estimator == "gigpo" else f"siri_{estimator}"
    if config.get("siri.control.skills_in_prompt"):
        return f"{base}_skills_in_prompt"
    skipped = [phase for phase in config.get("siri.phases.skip") or [] if phase != "mining"]
    changes = [f"no_{phase}" for phase in skipped]
    changes += ["random_skills"] * bool(config.get("siri.mining.random_skills"))
    changes += ["no_gate"] * (config.get("siri.internalization.gate") is False)
    changes += ["no_advantage_weights"] * (config.get("siri.internalization.advantage_weights") is False)
    return "_".join([base, *changes])


def differences(methods: Sequence[Method]) -> dict[str, list[str]]:
    """Settings in which methods differ: dotted name -> the value of each, as text.

    A setting that differs within a method (grouped by label or by other settings) shows all its values.
    """
    known = [method for method in methods if method.settings]
    keys = sorted({key for method in known for key in method.settings})
    rows = {key: [_text(method.settings.get(key, MISSING)) for method in methods] for key in keys}
    listed = [method in known for method in methods]
    return {
        key: [value if there else "" for value, there in zip(values, listed, strict=True)]
        for key, values in rows.items()
        if len({value for value, there in zip(values, listed, strict=True) if there}) > 1
    }


def _matches(run: Run, pattern: str) -> bool:
    return fnmatch(run.name, pattern) or fnmatch(str(run.folder), pattern)


def _identity(run: Run, group_by: Sequence[str]) -> tuple[Any, ...]:
    if not run.config:
        return "alone", run.name
    if group_by:
        return "settings", tuple(_text(run.config.get(key, MISSING)) for key in group_by)
    return "settings", tuple(sorted((key, _text(value)) for key, value in _own_settings(run).items()))


def _own_settings(run: Run) -> dict[str, Any]:
    home = str(run.config.get("trainer.default_local_dir") or run.folder)
    return {key: _placed(value, home) for key, value in run.config.items() if not NEUTRAL.fullmatch(key)}


def _placed(value: Any, home: str) -> Any:
    """Paths without the part that depends on the machine."""
    if isinstance(value, list):
        return [_placed(item, home) for item in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    if value.startswith(home):
        return "RUN" + value[len(home) :]
    return "/".join(value.rstrip("/").split("/")[-2:]) if value.startswith("/") else value


def _shared(group: Sequence[Run]) -> dict[str, Any]:
    every = [_own_settings(run) for run in group if run.config]
    keys = {key: None for settings in every for key in settings}
    shared = {}
    for key in keys:
        values = list(dict.fromkeys(_text(settings.get(key, MISSING)) for settings in every))
        shared[key] = every[0].get(key, MISSING) if len(values) == 1 else " or ".join(values)
    return shared


def _distinct_names(names: list[str], settings: list[dict[str, Any]], members: Sequence[Sequence[Run]]) -> list[str]:
    """Methods that share a name get the setting or two in which they differ; where there are more, a run's name."""
    result = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = [i for i, other in enumerate(names) if other == name]
        keys = sorted({key for i in same for key in settings[i]})
        differing = [key for key in keys if len({_text(settings[i].get(key, MISSING)) for i in same}) > 1]
        for i in same:
            values = [f"{key.rsplit('.', 1)[-1]}={_text(settings[i].get(key, MISSING))}" for key in differing]
            result[i] = f"{name} ({', '.join(values)})" if 0 < len(values) <= 2 else name
    clash = {name for name in result if result.count(name) > 1}
    return [f"{name} [{group[0].name}]" if name in clash else name for name, group in zip(result, members, strict=True)]


def _check_seeds(method: Method) -> None:
    seeds = [seed for seed in method.seeds if seed is not None]
    for seed in seeds:
        if seeds.count(seed) > 1:
            names = ", ".join(run.name for run in method.runs if run.seed == seed)
            raise ValueError(
                f"report: {names} have the same settings and siri.seed={seed}, so they are one run counted twice; "
                "leave one out, or name them apart with --label NAME=PATTERN"
            )


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)

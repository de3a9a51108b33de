# SPDX-License-Identifier: Apache-2.0
"""The learning curve of a run: validation success with its interval, as a table and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics


@dataclass(frozen=True)
class CurvePoint:
    """One validation. Shares in [0, 1]; the interval is Wilson's 95 %."""

    step: int
    success: float
    low: float
    high: float
    episodes: int
    env_steps: int
    by_category: Mapping[str, float]


def run_names(folders: Sequence[Path]) -> list[str]:
    """A name for each run: as much of its folder's path as tells it apart from the others.

    Raises:
        ValueError: one was given twice.
    """
    paths = [folder.resolve() for folder in folders]
    twice = [str(path) for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} was given twice; give every run once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def read_curve(run: Path) -> list[CurvePoint]:
    """Validation points of a run folder, by step.

    Raises:
        FileNotFoundError: the folder holds no metrics file.
        ValueError: the file holds no validation, or one without success.
    """
    path = RunFolder(run).metrics
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give the run's folder (trainer.default_local_dir)")
    env_steps, points = 0, []
    for record in read_metrics(path):
        metrics = record["metrics"]
        if record["kind"] == "train":
            env_steps = int(metrics.get("siri/env_steps_total", env_steps))
            continue
        if "siri/val/success" not in metrics:
            raise ValueError(
                f"{path}, validation of step {record['step']}: has no siri/val/success; the agent loop states no "
                "success in reward_extra_info (siri_verl/rollout/agent_loop.py does)"
            )
        prefix = "siri/val/success/"
        points.append(
            CurvePoint(
                step=record["step"],
                success=metrics["siri/val/success"],
                low=metrics["siri/val/success_low"],
                high=metrics["siri/val/success_high"],
                episodes=int(metrics["siri/val/episodes"]),
                env_steps=env_steps,
                by_category={k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)},
            )
        )
    if not points:
        raise ValueError(
            f"{path}: holds no validation; run with trainer.test_freq > 0 or trainer.val_before_train=True"
        )
    return points


def curve_table(name: str, points: Sequence[CurvePoint]) -> Table:
    """The points as a table."""
    categories = sorted({category for point in points for category in point.by_category})
    table = Table(title=f"{name}: validation on the plain prompt")
    for column in ("step", "env steps", "episodes", "success", "95 % interval", *categories):
        table.add_column(column, justify="right")
    for p in points:
        shares = [f"{p.by_category[c]:.2f}" if c in p.by_category else "" for c in categories]
        cells = [
            str(p.step),
            str(p.env_steps),
            str(p.episodes),
            f"{p.success:.3f}",
            f"{p.low:.3f}-{p.high:.3f}",
            *shares,
        ]
        table.add_row(*cells)
    return table


def draw_curve(curves: Mapping[str, Sequence[CurvePoint]], target: Path) -> None:
    """Success over environment steps with intervals, and by category where a single run has some."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    only = next(iter(curves.values())) if len(curves) == 1 else None
    categories = sorted(only[0].by_category) if only else []
    figure, axes = plt.subplots(
        1, 2 if categories else 1, figsize=(11 if categories else 6, 4), sharey=True, squeeze=False
    )
    main = axes[0, 0]
    for name, points in curves.items():
        x = [p.env_steps for p in points]
        (line,) = main.plot(x, [p.success for p in points], marker="o", label=name)
        main.fill_between(x, [p.low for p in points], [p.high for p in points], alpha=0.2, color=line.get_color())
    main.set(xlabel="environment steps", ylabel="validation success", ylim=(0, 1), title="plain prompt, 95 % interval")
    main.legend()
    if categories and only:
        right = axes[0, 1]
        for category in categories:
            right.plot(
                [p.env_steps for p in only], [p.by_category.get(category, float("nan")) for p in only], label=category
            )
        right.set(xlabel="environment steps", title="by category")
        right.legend(fontsize="small")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=130)
    plt.close(figure)

# SPDX-License-Identifier: Apache-2.0
"""A plan as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from siri_verl.planning.memory import ASSUMPTIONS, GIB
from siri_verl.planning.plan import FITS, NO_GPU, TIGHT, Plan

VERSION = 1
COLOURS = {FITS: "green", TIGHT: "yellow", NO_GPU: "green"}


def conclusion(plan: Plan) -> str:
    """One line: the verdict and the peak behind it."""
    if not plan.phases:
        return f"{plan.verdict}: {sum(plan.host.values()) / GIB:.1f} GiB of main memory"
    name, peak = plan.peak
    return f"{plan.verdict} {plan.gpu / GIB:.0f} GiB per GPU: {peak / GIB:.1f} GiB at most, in phase {name}"


def plan_json(plan: Plan) -> str:
    """Everything, sizes in bytes, as JSON with a version."""
    content: dict[str, Any] = {
        "version": VERSION,
        "verdict": plan.verdict,
        "peak": dict(zip(("phase", "bytes"), plan.peak, strict=True)) if plan.phases else None,
        "gpu_bytes": plan.gpu,
        "parameters": plan.architecture.parameters,
        **{name: getattr(plan, name) for name in ("phases", "host", "kv_tokens", "replicas", "problems", "remarks")},
        **{name: asdict(getattr(plan, name)) for name in ("architecture", "setup", "batch", "budget")},
        "assumptions": list(ASSUMPTIONS),
    }
    return json.dumps(content, indent=2)


def plan_table(plan: Plan) -> RenderableType:
    """Everything that matters before a run, as tables."""
    parts: list[RenderableType] = [Text(_model(plan), style="bold")]
    if plan.phases:
        parts.append(_phases(plan))
    parts.append(_sums("main memory of a node", {k: f"{v / GIB:.1f} GiB" for k, v in plan.host.items() if v}))
    parts.append(_sums(_per_iteration(plan), _counts(plan)))
    for problem in plan.problems:
        parts.append(Text.assemble(("too big ", "red"), problem))
    for remark in plan.remarks:
        parts.append(Text.assemble(("note ", "yellow"), remark))
    parts.append(Text("assumptions (not measured on this machine):"))
    parts += [Text(f"  - {line}") for line in ASSUMPTIONS]
    parts.append(Text(conclusion(plan), style=f"bold {COLOURS.get(plan.verdict, 'red')}"))
    return Group(*parts)


def print_plan(plan: Plan, console: Console) -> None:
    """The table, unbroken lines where a terminal is narrow."""
    console.print(plan_table(plan), highlight=False, soft_wrap=True)


def _model(plan: Plan) -> str:
    setup, arch = plan.setup, plan.architecture
    how = f"LoRA of rank {setup.lora_rank}" if setup.lora_rank else "all parameters"
    nodes = setup.gpus // setup.gpus_per_node
    what = "processes" if plan.verdict == NO_GPU else "GPUs"
    return (
        f"{arch.name} ({arch.parameters / 1e9:.3g} billion parameters, {arch.source}): {how}, {setup.engine} and "
        f"{setup.rollout}, {nodes} x {setup.gpus_per_node} {what}"
    )


def _phases(plan: Plan) -> Table:
    names = list(dict.fromkeys(part for parts in plan.phases.values() for part in parts))
    table = Table("GiB per GPU", *plan.phases, box=None, padding=(0, 2), header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in names:
        row = [parts.get(name, 0.0) for parts in plan.phases.values()]
        if any(row):
            table.add_row(name, *(f"{size / GIB:.1f}" if size else "" for size in row))
    table.add_row("sum", *(f"{sum(parts.values()) / GIB:.1f}" for parts in plan.phases.values()), style="bold")
    return table


def _per_iteration(plan: Plan) -> str:
    turns = f"{plan.budget.turns_per_session:g} turns each"
    return f"an iteration, {'at most ' if plan.batch.turns is None else ''}{turns}"


def _counts(plan: Plan) -> dict[str, str]:
    b, batch = plan.budget, plan.batch
    counts = {
        "sessions": f"{b.sessions:,} ({batch.tasks} tasks x {batch.group})",
        "rows = environment steps": f"{b.rows:,}",
        "tokens": f"{b.prompt_tokens:,} of prompts, {b.response_tokens:,} of replies (every turn at its longest)",
        "optimizer steps": f"{b.updates:,} of {b.rows_per_update:,} rows",
        "internalization rows": f"up to {b.internalization_rows:,} more, in that phase",
        "mining": f"{b.mining_tokens:,.0f} tokens",
    }
    if b.run_environment_steps is None or b.run_tokens is None:
        counts["run"] = "as long as trainer.total_epochs; trainer.total_training_steps is not set"
    else:
        counts[f"run of {batch.iterations:,} iterations"] = (
            f"{b.run_environment_steps:,} environment steps, {b.run_tokens / 1e9:,.2f} billion tokens"
        )
    if plan.phases:
        at_once = plan.kv_tokens // (batch.prompt + batch.response)
        counts["KV cache"] = (
            f"{plan.kv_tokens:,} tokens on each of {plan.replicas} replicas: {at_once} sessions at full length, "
            f"{b.sessions / plan.replicas:.0f} in play"
        )
    return {name: text for name, text in counts.items() if not text.startswith(("up to 0 ", "0 tokens"))}


def _sums(title: str, rows: dict[str, str]) -> Table:
    table = Table(title, "", box=None, padding=(0, 2), header_style="bold")
    for name, text in rows.items():
        table.add_row(name, text)
    return table

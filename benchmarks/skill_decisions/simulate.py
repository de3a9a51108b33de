# SPDX-License-Identifier: Apache-2.0
"""Error rates of the two decision rules on skills whose effect is known.

    python benchmarks/skill_decisions/simulate.py                  # rewrites results.json and decisions.png
    python benchmarks/skill_decisions/simulate.py --part presets   # part 1 alone; keeps the other results

1. The presets: the chance to be promoted, and the groups it takes, with each preset's own settings and arms
   (preset_cells.py).
2. The rules, one skill at a time, 4 against 4 and at most 64 groups: the calibrated moving average, careless ones, and
   the sequential rule. Every skill goes through the product's own `DecisionBook`. About 6 minutes with 3.
3. Runs of 24 candidates of which a share is useless: the false share of the promoted skills, which the sequential rule
   bounds.

A group is a few trajectories with the skill against as many without; each succeeds with probability p + effect, or p.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from preset_cells import PRESETS, simulate, table
from scipy.stats import beta

from siri_verl.core.decisions import DecisionBook
from siri_verl.core.rules import ACTIVE, UtilitySettings

HERE = Path(__file__).parent
RULES = {
    "ema, calibrated": UtilitySettings(),
    "ema, careless": UtilitySettings(ema_alpha=0.3, n_eval=3, promote_above=1e-9),
    "ema, .3 / 8 / .05": UtilitySettings(ema_alpha=0.3, n_eval=8, promote_above=0.05),
    "sequential": UtilitySettings(decision="sequential"),
}
BASES = (0.05, 0.2, 0.5, 0.7)
EFFECTS = (-0.05, 0.0, 0.1, 0.2, 0.3)
ARM = 4
TYPES = 6


def gaps(rng: np.random.Generator, base: float, effect: float, groups: int) -> np.ndarray:
    """Delta of `groups` paired groups."""
    return (rng.binomial(ARM, min(max(base + effect, 0), 1), groups) - rng.binomial(ARM, base, groups)) / ARM


def interval(hits: int, n: int) -> tuple[float, float]:
    """95 % Clopper-Pearson interval of a share."""
    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
    return low, high


def first_decision(book: DecisionBook, skill: str, deltas: np.ndarray) -> tuple[bool, int]:
    """Whether the skill is promoted, and after how many groups it was decided about."""
    for i, delta in enumerate(deltas.tolist()):
        decision = book.record(skill, delta, i)
        if decision is not None:
            return decision.after == ACTIVE, decision.groups
    return False, len(deltas)


def single(rule: str, base: float, effect: float, skills: int, seed: int) -> dict:
    """Chance and time of promotion of one skill that is the first to be tested."""
    rng = np.random.default_rng([seed, int(100 * base), int(100 * (effect + 1))])
    settings = RULES[rule]
    outcomes = []
    for _ in range(skills):
        book = DecisionBook(settings)
        book.add("s", "type")
        outcomes.append(first_decision(book, "s", gaps(rng, base, effect, settings.max_groups)))
    hits = [groups for promoted, groups in outcomes if promoted]
    return {
        "rule": rule,
        "base": base,
        "effect": effect,
        "skills": skills,
        "promoted": len(hits) / skills,
        "interval": interval(len(hits), skills),
        "groups_to_promotion": statistics.median(hits) if hits else None,
        "groups_to_decision": statistics.median(groups for _, groups in outcomes),
    }


def many(rule: str, useless: float, effect: float, runs: int, candidates: int, seed: int) -> dict:
    """False share of promotions and share of good skills found in runs with many candidates, tested one after
    another."""
    rng = np.random.default_rng([seed, int(100 * useless)])
    false_shares, found, good = [], 0, 0
    for _ in range(runs):
        book = DecisionBook(RULES[rule])
        false = true = 0
        for k in range(candidates):
            is_useless = bool(rng.random() < useless)
            book.add(str(k), f"type{k % TYPES}")
            base = float(rng.choice([0.05, 0.2, 0.5]))
            deltas = gaps(rng, base, 0.0 if is_useless else effect, RULES[rule].max_groups)
            promoted, _ = first_decision(book, str(k), deltas)
            false += promoted and is_useless
            true += promoted and not is_useless
            good += not is_useless
        false_shares.append(false / max(false + true, 1))
        found += true
    spread = 1.96 * statistics.stdev(false_shares) / len(false_shares) ** 0.5
    return {
        "rule": rule,
        "useless": useless,
        "effect": effect,
        "runs": runs,
        "candidates": candidates,
        "false_discovery_rate": statistics.fmean(false_shares),
        "plus_minus": spread,
        "power": found / good if good else None,
    }


def picture(singles: list[dict], presets: list[dict], path: Path) -> None:
    """False promotions by base success, and power by effect, of the rules; both of the presets."""
    figure, (first, left, right) = plt.subplots(1, 3, figsize=(14, 3.8), sharey=True)
    for k, name in enumerate(PRESETS):
        mine = [c for c in presets if c["setup"] == name]
        null = [c for c in mine if c["effect"] == 0.0]
        power = [c for c in mine if c["effect"] == 0.4]
        kinds = [*null, *power]
        first.bar(
            np.arange(len(kinds)) + 0.27 * (k - 1),
            [c["promoted"] for c in kinds],
            0.27,
            yerr=[c["plus_minus"] for c in kinds],
            capsize=2,
            label=f"{name}, {mine[0]['arms']}",
        )
    first.axhline(0.1, color="black", linewidth=0.8, linestyle="--")
    first.set_xticks(range(len(kinds)), [f"p {c['base']:g}\n{'useless' if not c['effect'] else '+ .4'}" for c in kinds])
    first.set(title="presets", ylabel="share promoted")
    first.legend(frameon=False, fontsize=8, loc="upper left")
    for k, rule in enumerate(RULES):
        null = [r for r in singles if r["rule"] == rule and r["effect"] == 0.0]
        x = np.arange(len(null)) + 0.2 * (k - 1.5)
        height = [r["promoted"] for r in null]
        error = np.abs(np.array([r["interval"] for r in null]).T - height)
        left.bar(x, height, 0.2, yerr=error, label=rule, capsize=2)
        power = [r for r in singles if r["rule"] == rule and r["base"] == 0.2]
        right.plot([r["effect"] for r in power], [r["promoted"] for r in power], marker="o", label=rule)
    left.axhline(0.1, color="black", linewidth=0.8, linestyle="--")
    left.set_xticks(range(len(BASES)), [f"{b:g}" for b in BASES])
    left.set(xlabel="success without the skill", title="rules, 4 v 4, 64 groups: useless skills")
    right.set(xlabel="true effect", title="rules: success without the skill .2")
    right.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("all", "presets", "rules"), default="all")
    parser.add_argument("--preset-skills", type=int, default=10_000, help="simulated skills per cell of part 1")
    parser.add_argument("--skills", type=int, default=1000, help="simulated skills per cell of part 2")
    parser.add_argument("--runs", type=int, default=100, help="runs per cell of part 3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    path = args.out / "results.json"
    results = {} if args.part == "all" else json.loads(path.read_text(encoding="utf-8"))
    if args.part != "rules":
        results["presets"] = simulate(args.preset_skills, args.seed)
        print("\n" + table(results["presets"]["cells"]))
    if args.part != "presets":
        results |= rules(args.skills, args.runs, args.seed)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    picture(results["single"], results["presets"]["cells"], args.out / "decisions.png")


def rules(skills: int, each: int, seed: int) -> dict:
    """Parts 2 and 3, printed as tables."""
    singles = [single(r, b, e, skills, seed) for r in RULES for b in BASES for e in EFFECTS]
    runs = [many(r, u, 0.3, each, 24, seed) for r in RULES for u in (0.5, 0.9, 1.0)]
    print("\n| rule | " + " | ".join(f"p = {b:g}" for b in BASES) + " |\n|---" + "|---" * len(BASES) + "|")
    for effect in (0.0, 0.2):
        for rule in RULES:
            cells = [r for r in singles if r["rule"] == rule and r["effect"] == effect]
            text = [f"{r['promoted']:.3f} ({r['groups_to_promotion'] or '-'})" for r in cells]
            print(f"| effect {effect:g}: {rule} | " + " | ".join(text) + " |")
    print("\n| rule | useless share | false-discovery rate | good skills found |\n|---|---|---|---|")
    for r in runs:
        power = "-" if r["power"] is None else f"{r['power']:.2f}"
        print(f"| {r['rule']} | {r['useless']:g} | {r['false_discovery_rate']:.3f} ± {r['plus_minus']:.3f} | {power} |")
    return {
        "arguments": {"skills": skills, "runs": each, "seed": seed},
        "settings": {name: vars(s) for name, s in RULES.items()},
        "single": singles,
        "runs": runs,
    }


if __name__ == "__main__":
    main()

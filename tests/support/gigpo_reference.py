# SPDX-License-Identifier: Apache-2.0
"""GiGPO written from the formulas, slowly; and small batches by hand for the tests of it."""

from __future__ import annotations

import math
import statistics
from difflib import SequenceMatcher

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.turns import read_turns

COLUMNS = ("group", "trajectory", "turn", "anchor", "reward", "valid")


def reference(rows, *, gamma, step_weight, norm, episode_stats, invalid_penalty, similarity):
    """Formulas 1-6 of the method, loop by loop. `rows` is a list of dicts; returns lists episode, step, total."""

    def by(keys):
        out = {}
        for i, row in enumerate(rows):
            out.setdefault(tuple(row[k] for k in keys), []).append(i)
        return out

    n = len(rows)
    ret, disc = [0.0] * n, [0.0] * n
    for members in by(("group", "trajectory")).values():
        members.sort(key=lambda i: rows[i]["turn"])
        total = sum(rows[i]["reward"] for i in members)
        for position, i in enumerate(members):
            ret[i] = total
            disc[i] = sum(gamma**k * rows[j]["reward"] for k, j in enumerate(members[position:]))
    penalty = [0.0 if row["valid"] else invalid_penalty for row in rows]

    def scale(samples):
        if norm == "mean" or len(samples) < 2 or max(samples) - min(samples) < 1e-12:
            return 1.0
        return statistics.stdev(samples) + 1e-6

    episode, step = [0.0] * n, [0.0] * n
    for members in by(("group",)).values():
        if episode_stats == "per_step":
            samples = [ret[i] - penalty[i] for i in members]
        else:
            samples = list({rows[i]["trajectory"]: ret[i] for i in members}.values())
        mean = statistics.fmean(samples) if len(samples) > 1 else 0.0
        for i in members:
            episode[i] = (ret[i] - penalty[i] - mean) / scale(samples)

    label = [row["anchor"] for row in rows]
    if similarity is not None:
        for members in by(("group",)).values():
            first_turn = {}
            for i in members:
                text = rows[i]["anchor"]
                first_turn[text] = min(first_turn.get(text, math.inf), rows[i]["turn"])
            chosen, heads = {}, []
            for text in sorted(first_turn, key=lambda text: (first_turn[text], text)):
                near = [head for head in heads if SequenceMatcher(None, text, head).ratio() >= similarity]
                if not near:
                    heads.append(text)
                chosen[text] = near[0] if near else text
            for i in members:
                label[i] = chosen[rows[i]["anchor"]]
    states = {}
    for i, row in enumerate(rows):
        states.setdefault((row["group"], label[i]), []).append(i)
    for members in states.values():
        samples = [disc[i] - penalty[i] for i in members]
        for i in members:
            step[i] = (disc[i] - penalty[i] - statistics.fmean(samples)) / scale(samples)
    return episode, step, [e + step_weight * s for e, s in zip(episode, step, strict=True)]


def columns(rows):
    return {name: [row[name] for row in rows] for name in COLUMNS}


def advantages(rows, padding=None, **options):
    return gigpo(read_turns(**columns(rows), padding=padding), GigpoSettings(**options))


def rows_of(*specs):
    """Rows from (group, trajectory, turn, anchor, reward, valid) tuples."""
    return [dict(zip(COLUMNS, spec, strict=True)) for spec in specs]

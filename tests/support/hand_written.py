# SPDX-License-Identifier: Apache-2.0
"""The gradient by the formula, in plain torch and float64.

It knows the episodes, the plain prompts and the formula; it knows nothing of columns, micro-batches or ranks. Taken
from the run are the optimizer step a gated turn was dealt to, and what the log-prob pass found.
"""

from __future__ import annotations

import torch

from support.driver import plain_model
from support.queue_rows import TEMPERATURE, WINS

BETA, CLIP = 0.05, 0.2


def log_probs(model, sequences):
    """Per sequence, the log-probs of its tokens after the first; sequences are right-padded, which causal models do not
    see."""
    width = max(map(len, sequences))
    ids = torch.tensor([s + [0] * (width - len(s)) for s in sequences])
    scores = (model(input_ids=ids).logits[:, :-1] / TEMPERATURE).log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return [scores[i, : len(s) - 1] for i, s in enumerate(sequences)]


def kept_columns(step):
    """Row key -> (advantage, old log-probs, reference log-probs) as the workers were sent them."""
    columns = {}
    for keys, data in zip(step.workers.keys, step.workers.sent, strict=True):
        names = ("advantages", "old_log_probs", "ref_log_prob")
        for key, *values in zip(keys, *(data[name].unbind() for name in names), strict=True):
            columns[key] = [value.double() for value in values]
    return columns


def delta(task):
    wins = WINS[task]
    return (wins[2] + wins[3]) / 2 - (wins[0] + wins[1]) / 2


def gated_turns(step, columns):
    """The formula's m and w: [(row key, w)] of the turns whose action is learned. `step.joint` holds the columns of a
    step whose advantages compare both arms, where its own do not."""
    s = step.settings.internalization
    columns = getattr(step, "joint", columns)
    turns = []
    for key, row in step.rows.items():
        fields = row["fields"]
        if fields["arm"] != "skill" or not fields["valid"] or (s.gate and not delta(fields["task_id"]) > 0):
            continue
        advantage = float(columns[key][0][0])
        grpo = step.config.algorithm.adv_estimator == "grpo"
        weight = min(max(advantage / (1.0 if grpo else 10.0), 0.0), 2.0 if grpo else 1.0)
        turns.append((key, weight if s.advantage_weights else 1.0))
    return turns


def dealt(step):
    """Row key -> the optimizer step it is dealt to."""
    selection = step.now.extra.selection
    return {step.now.table.keys[row]: int(m) for row, m in zip(selection.rows, selection.step, strict=True)}


def internalization_term(model, step, columns, m):
    """L_int of optimizer step m."""
    s = step.settings.internalization
    turns = [(key, w) for key, w in gated_turns(step, columns) if dealt(step)[key] == m]
    if not turns:
        return 0.0
    sequences, spans = [], []
    for key, _ in turns:
        row = step.rows[key]
        start, end = row["fields"]["span_start"], row["fields"]["span_end"]
        plain, reply = row["plain"], row["reply"]
        context = reply[:start] if s.context == "think" else []
        if s.span == "response":
            sequences.append(plain + reply)
            spans.append((len(plain), len(plain) + len(reply)))
        else:
            sequences.append(plain + context + reply[start:end])
            spans.append((len(plain) + len(context), len(plain) + len(context) + end - start))
    total, count = 0.0, 0
    for (key, w), (first, last), scores in zip(turns, spans, log_probs(model, sequences), strict=True):
        learned = scores[first - 1 : last - 1]
        if s.log_prob_floor is not None:
            # the floor looks at the log-probs before the update
            learned = learned[before_update(step, key)[first - last :] >= s.log_prob_floor]
        total = total - w * learned.sum()
        count += len(learned)
    if s.normalise == "all_tokens":
        lengths = [
            len(row["reply"]) if s.span == "response" else row["fields"]["span_end"] - row["fields"]["span_start"]
            for row in step.rows.values()
        ]
        count = max(sum(lengths) / step.steps, count)
    return total / count if count else 0.0


def before_update(step, key):
    """Old log-probs of the extra row made of a policy row."""
    extra, table = step.now.extra, step.now.table
    i = [table.keys[row] for row in extra.selection.rows].index(key)
    return kept_columns(step)[extra.keys[i]][1]


def reference(folder, step, m, weights):
    """The gradient of optimizer step m at some weights, by name."""
    model = plain_model(folder)
    model.load_state_dict({name: value.double() for name, value in weights.items()})
    columns = kept_columns(step)
    keys = step.policy_slices()[m]
    policy = torch.zeros((), dtype=torch.float64)
    kl, tokens = policy.clone(), 0
    scores = log_probs(model, [step.rows[key]["prompt"] + step.rows[key]["reply"] for key in keys])
    for key, found in zip(keys, scores, strict=True):
        advantage, old, ref = columns[key]
        now = found[len(step.rows[key]["prompt"]) - 1 :]
        ratio = (now - old).exp()
        policy = policy - torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage).sum()
        kl = kl + ((ref - now).exp() - (ref - now) - 1).sum()
        tokens += len(now)
    loss = (policy + BETA * kl) / tokens
    if step.now.extra is not None:
        loss = loss + step.workers.extra_info["internalization_lambda"] * internalization_term(model, step, columns, m)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def distance(a, b):
    """Norm of the difference over the norm of b."""
    assert a.keys() == b.keys()
    gap = sum(float((a[n].double() - b[n].double()).square().sum()) for n in b) ** 0.5
    return gap / sum(float(b[n].double().square().sum()) for n in b) ** 0.5

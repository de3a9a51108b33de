# SPDX-License-Identifier: Apache-2.0
"""The token teacher's term of an update by its formula, in plain torch and float64.

As hand_written.py, it knows the episodes and the formula, and takes from the run what the log-prob pass found and which
optimizer step a row was dealt to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from siri_verl.runs.replay import decode
from support.driver import plain_model
from support.hand_written import BETA, CLIP, delta, kept_columns, log_probs
from support.queue_rows import TEMPERATURE


@dataclass
class Reply:
    """A reply to be learned: its prompt, tokens, spans, weight, optimizer step, and of its tokens o when it was
    sampled, t, and o in this iteration."""

    prompt: list[int]
    reply: list[int]
    span: tuple[int, int]
    action: tuple[int, int]
    weight: float
    step: int
    old: torch.Tensor
    teacher: torch.Tensor
    now: torch.Tensor
    target: Target | None = None


@dataclass
class Target:
    """Soft targets of the span: ids (tokens, K), and the teacher's log-probs of these."""

    ids: torch.Tensor
    log_probs: torch.Tensor

    @classmethod
    def of(cls, step, student, teacher, first, span):
        """From the scoring passes of the rows with these keys; `first`: of the student's tokens in the teacher's
        reply."""
        s, known = step.settings.internalization, step.workers.distributions
        if s.target == "sampled" or teacher not in known:
            return None
        scores = known[teacher][first:][slice(*span)]
        ids = torch.arange(scores.shape[1]).expand_as(scores)
        if s.target == "top_k":
            ids = (known[student][slice(*span)] if s.top_k_of == "student" else scores).topk(s.top_k).indices
        return cls(ids, scores.gather(-1, ids))

    @classmethod
    def of_past(cls, past):
        """As kept for replay."""
        if not past.top_log_probs:
            return None
        ids, scores = (
            decode(text, kind, past.span[1] - past.span[0])
            for text, kind in ((past.top_ids, "int32"), (past.top_log_probs, "float32"))
        )
        return cls(torch.from_numpy(ids).long(), torch.from_numpy(scores).double())


def found(step, key, length):
    """The log-prob pass of a row's last `length` tokens."""
    return step.workers.found["old", key][-length - 1 : -1].double()


def weight_of(step, base, row):
    """w of a row by `row_weight`; `base` has the advantages of the same trajectories."""
    s = step.settings.internalization
    if s.row_weight == "one":
        return 1.0
    if s.row_weight == "gap":
        return min(max(delta(step.rows[row]["fields"]["task_id"]) / s.gap_scale, 0.0), s.gap_clip)
    return min(max(float(base[row][0][0]) / 10.0, 0.0), 1.0)


def helped(fields):
    return delta(fields["task_id"]) > 0 and "book" not in fields["task_id"]


def replies(step, base):
    """The rows of the term, in no order."""
    s = step.settings.internalization
    made = []
    extra, scored, table = step.now.teacher.extra, step.now.teacher.scored, step.now.table
    if extra is not None:
        members = {table.keys[row]: i for i, row in enumerate(extra.selection.rows) if row >= 0}
        for key, row in step.rows.items():
            fields = row["fields"]
            if fields["arm"] == "skill" and fields["valid"] and helped(fields):
                i, action = members[key], (fields["span_start"], fields["span_end"])
                length = len(row["reply"]) if s.span == "response" else action[1]
                span = (0, length) if s.span == "response" else action
                first = action[0] if s.context == "no_think" else 0
                length, span = length - first, (span[0] - first, span[1] - first)
                action = (action[0] - first, action[1] - first)
                weight = weight_of(step, base, key)
                old = torch.zeros(length, dtype=torch.float64)
                if extra.keys[i] is not None:
                    old = found(step, extra.keys[i], length)
                teacher = found(step, key, len(row["reply"]))[first:][:length]
                reply = row["reply"][first:][:length]
                m = int(extra.selection.step[i])
                target = Target.of(step, extra.keys[i], key, first, span)
                made.append(Reply(row["plain"], reply, span, action, weight, m, old, teacher, old, target))
        for i, past in enumerate(extra.selection.past, len(members)):
            old, teacher = (torch.tensor(v, dtype=torch.float64) for v in (past.old, past.teacher))
            m, now = int(extra.selection.step[i]), found(step, extra.keys[i], len(past.response))
            kept = past.prompt, past.response, past.span, past.action, past.weight
            made.append(Reply(*kept, m, old, teacher, now, Target.of_past(past)))
    if scored is not None:
        where = {key: m for m, keys in enumerate(step.policy_slices()) for key in keys}
        twins = dict(zip((table.keys[i] for i in scored.rows), scored.keys, strict=True))
        for key, row in step.rows.items():
            fields = row["fields"]
            if fields["arm"] == "plain" and fields["valid"] and helped(fields):
                action, length = (fields["span_start"], fields["span_end"]), len(row["reply"])
                span = (0, length) if s.span == "response" else action
                old, teacher = (found(step, name, length) for name in (key, twins[key]))
                weight = weight_of(step, base, key)
                target, prompt = Target.of(step, key, twins[key], 0, span), row["prompt"]
                made.append(Reply(prompt, row["reply"], span, action, weight, where[key], old, teacher, old, target))
    return made


def token_weight(s, now, teacher):
    gain = (teacher - now).detach()
    return {"one": torch.ones_like(gain), "shift": gain.clamp(0, 1), "gate": torch.sigmoid(5 * gain)}[s.token_weight]


def soft_divergence(s, target, scores):
    """(tokens,) the divergence of the teacher and `scores` (tokens, vocabulary), with probabilities written out."""
    p, q = target.log_probs.exp(), scores.exp().gather(-1, target.ids)
    if s.target == "top_k" and s.tail:
        p, q = (torch.cat([part, 1 - part.sum(-1, keepdim=True)], dim=-1) for part in (p, q))

    def kl(a, b):
        return (a * (a / b).log()).sum(-1)

    if s.divergence == "jsd":
        return kl(p, (p + q) / 2) / 2 + kl(q, (p + q) / 2) / 2
    return kl(p, q) if s.divergence == "forward" else kl(q, p)


def term(model, step, base, m):
    """L_int of optimizer step m."""
    s = step.settings.internalization
    chosen = [reply for reply in replies(step, base) if reply.step == m]
    if not chosen:
        return torch.zeros((), dtype=torch.float64)
    total, tokens, weights = 0.0, 0, 0.0
    for r, scores in zip(chosen, log_probs(model, [r.prompt + r.reply for r in chosen]), strict=True):
        part = slice(*r.span)
        now, old, teacher = scores[len(r.prompt) - 1 :][part], r.old[part], r.teacher[part]
        gain = teacher - now
        if s.target == "sampled":
            divergence = {"nll": -now, "forward": gain, "k3": gain.exp() - 1 - gain}[s.divergence]
        elif r.weight > 0:
            ids = torch.tensor([r.prompt + r.reply])
            logits = model(input_ids=ids).logits[0, len(r.prompt) - 1 : -1] / TEMPERATURE
            divergence = soft_divergence(s, r.target, logits.log_softmax(-1)[part])
        else:
            divergence = torch.zeros_like(now)
        each = token_weight(s, now, teacher) * divergence
        if s.ratio_cap is not None:
            ratio = (now - old).exp().clamp(max=s.ratio_cap)
            each = each * (ratio.detach() if s.ratio_detached else ratio)
        places = torch.arange(r.span[0], r.span[1])
        factor = torch.where((places >= r.action[0]) & (places < r.action[1]), s.action_factor, 1.0)
        total = total + r.weight * (each * factor).sum() / (len(now) if s.normalise == "rows" else 1)
        tokens += len(now)
        weights += float((token_weight(s, r.now[part], teacher) * factor).sum())
    if s.normalise == "all_tokens":
        spans = [row["fields"]["span_end"] - row["fields"]["span_start"] for row in step.rows.values()]
        every = [len(row["reply"]) for row in step.rows.values()] if s.span == "response" else spans
        return total / max(sum(every) / step.steps, tokens)
    return total / {"gated": tokens, "rows": len(chosen), "weights": max(weights, 0.1 * tokens)}[s.normalise]


def advantages(step, base, key):
    """A of a policy row after the method's change, by token."""
    s, row = step.settings.internalization, step.rows[key]
    before, fields = base[key][0], row["fields"]
    if s.replaces_policy:
        return torch.zeros_like(before)
    if s.role == "loss" or fields["arm"] != "plain" or not fields["valid"] or not helped(fields):
        return before
    scored, table = step.now.teacher.scored, step.now.table
    twin = scored.keys[[table.keys[i] for i in scored.rows].index(key)]
    gain = found(step, twin, len(row["reply"])) - found(step, key, len(row["reply"]))
    weight = step.workers.extra_info["internalization_lambda"]
    if s.role == "advantage_term":
        return before + weight * weight_of(step, base, key) * gain
    return before * ((1 - weight) + weight * (before.sign() * gain).exp().clamp(0.8, 1.2))


def policy_gradient(folder, step, base, m, weights):
    """The gradient of optimizer step m of the policy's update, by name."""
    model = model_at(folder, weights)
    keys, columns = step.policy_slices()[m], kept_columns(step)
    loss, tokens = torch.zeros((), dtype=torch.float64), 0
    scores = log_probs(model, [step.rows[key]["prompt"] + step.rows[key]["reply"] for key in keys])
    for key, score in zip(keys, scores, strict=True):
        _, old, ref = columns[key]
        now = score[len(step.rows[key]["prompt"]) - 1 :]
        ratio, a = (now - old).exp(), advantages(step, base, key)
        surrogate = torch.minimum(ratio * a, ratio.clamp(1 - CLIP, 1 + CLIP) * a)
        # verl's dual clip, which negative advantages meet where ratios are large
        loss = loss - torch.where(a < 0, torch.maximum(surrogate, 3.0 * a), surrogate).sum()
        loss = loss + BETA * ((ref - now).exp() - (ref - now) - 1).sum()
        tokens += len(now)
    loss = loss / tokens
    if not step.settings.internalization.steps and step.settings.internalization.role == "loss":
        loss = loss + step.workers.extra_info["internalization_lambda"] * term(model, step, base, m)
    return gradient(model, loss)


def own_gradient(folder, step, base, m, weights):
    """The gradient of the m-th optimizer step that is internalization's own, by name."""
    model = model_at(folder, weights)
    return gradient(model, step.workers.updates[1][2]["internalization_lambda"] * term(model, step, base, m))


def model_at(folder, weights):
    model = plain_model(folder)
    model.load_state_dict({name: value.double() for name, value in weights.items()})
    return model


def gradient(model, loss):
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def same_rows(step, other):
    """The columns of another step over the same trajectories, under this step's keys."""
    columns = kept_columns(other)
    return {key: columns[twin] for key, twin in zip(step.rows, other.rows, strict=True)}

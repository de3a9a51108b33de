# SPDX-License-Identifier: Apache-2.0
"""The real SiriTrainer's side of a step, from sampled rows to what each worker is sent, over a real TransferQueue.

Only Ray's worker group is stood in for: its log-probs come from a plain model in this process, and what it is to
update on is kept, to be run by verl's real training worker in processes of its own (internalization_job.py).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from transformers import AutoModelForCausalLM
from verl.utils.transferqueue_utils import _meta_to_realdata

from siri_verl.envs.panels import make_panel, write_dataset
from siri_verl.planning.compose import compose_run
from siri_verl.runs.replay import PastRow
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance
from siri_verl.training.soft_targets import GIVEN_IDS, SCORED_IDS, SCORED_LOG_PROBS, SCORING
from support.queue_rows import ROW_NAMES, SESSIONS, STEP, TASKS, TEMPERATURE, put_rows
from support.tiny_model import make_tiny_model

LEARNING_RATE = 1e-3


def prepare(folder: Path) -> None:
    """A model, panels, and a bank with a candidate for coins and one for lamps."""
    make_tiny_model(folder / "model", tie=False)
    for split in ("train", "validation"):
        write_dataset(make_panel("toy", {}, split), folder / f"{split}.parquet")
    bank = SkillBank()
    for kind in ("coin", "lamp"):
        bank.add("a note is there", f"look for the {kind} where the note says", kind, Provenance("", "", 0, "hand"))
    save_bank(bank, folder / "bank.jsonl")


def run_config(folder: Path, *overrides: str):
    """The settings of a run, as `python -m verl.trainer.main_ppo` has them."""
    given = [
        "+siri=[base,cpu,cpu_small]",
        f"data.train_files={folder}/train.parquet",
        f"data.val_files={folder}/validation.parquet",
        f"actor_rollout_ref.model.path={folder}/model",
        *(f"data.train_batch_size={len(TASKS)}", f"actor_rollout_ref.rollout.n={SESSIONS}"),
        *("data.max_prompt_length=512", "data.max_response_length=48", "actor_rollout_ref.rollout.max_model_len=560"),
        f"actor_rollout_ref.rollout.temperature={TEMPERATURE}",
        *("actor_rollout_ref.actor.use_kl_loss=true", "actor_rollout_ref.actor.kl_loss_coef=0.05"),
        *("actor_rollout_ref.actor.entropy_coeff=0", f"actor_rollout_ref.actor.optim.lr={LEARNING_RATE}"),
        "actor_rollout_ref.actor.optim.total_training_steps=10",
        *(f"siri.initial_bank={folder}/bank.jsonl", "siri.phases.fixed=internalization", "siri.task_type.kind=regex"),
        *("+siri.task_type.table.coin=coin", "+siri.task_type.table.lamp=lamp"),
        *("siri.internalization.lambda_max=0.7", "siri.internalization.warmup_updates=0"),
        *overrides,
    ]
    config = compose_run(given)
    OmegaConf.resolve(config)
    return config


class PlainWorkers:
    """Stands where verl's worker groups stand.

    Args:
        tq: TransferQueue.
        model: gives the log-probs, off by a little noise so that ratios differ from 1.
        dp_size: number of workers.

    Attributes:
        found: (`old` or `ref`, row key) -> log-probs of the row's tokens, shifted to the left.
        updates: of each update, the policy's first: each worker's row keys, what it is sent, and what is said about it.
        scorings: the same of each scoring pass for soft targets.
        distributions: row key -> (response tokens, vocabulary) log-probs of the last scoring pass, float64.
    """

    def __init__(self, tq, model, dp_size: int):
        self.tq, self.model = tq, model
        self._dispatch_info = {"actor": list(range(dp_size))}
        self.found: dict[tuple[str, str], torch.Tensor] = {}
        self.updates: list[tuple[list[list[str]], list, dict]] = []
        self.scorings: list[tuple[list[list[str]], list, dict]] = []
        self.distributions: dict[str, torch.Tensor] = {}

    def _log_probs(self, batch, name):
        rows = self.tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["input_ids"])
        values = []
        for key, ids in zip(batch.keys, rows["input_ids"].unbind(), strict=True):
            found = torch.zeros(len(ids))
            found[:-1] = token_log_probs(self.model, ids).detach().float()
            rng = torch.Generator().manual_seed(hash_of(key, name))
            values.append(found + 0.1 * torch.randn(len(ids), generator=rng))
            self.found[name, key] = values[-1]
        nested = torch.nested.as_nested_tensor(values, layout=torch.jagged)
        fields = {"log_probs": nested, "entropy": nested.clone()}
        return self.tq.kv_batch_put(
            keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(fields, batch_size=len(batch))
        )

    def compute_log_prob(self, batch):
        return self._scores(batch) if SCORING in batch.extra_info else self._log_probs(batch, "old")

    def _scores(self, batch):
        """A scoring pass: the K columns of the replies' tokens."""
        self.scorings.append(self._sent(batch))
        settings = batch.extra_info["internalization_settings"]
        names = ["input_ids", "responses", *(name for name in batch.fields if name == GIVEN_IDS)]
        got = self.tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
        rows = {name: got[name].unbind() for name in names}
        found: dict[str, list[torch.Tensor]] = {SCORED_IDS: [], SCORED_LOG_PROBS: []}
        for i, key in enumerate(batch.keys):
            length = len(rows["responses"][i])
            logits = self.model(input_ids=rows["input_ids"][i][None]).logits[0, -length - 1 : -1] / TEMPERATURE
            self.distributions[key] = scores = logits.log_softmax(-1).detach()
            ids = torch.arange(scores.shape[1]).expand_as(scores)
            if settings.target == "top_k":
                ids = scores.topk(settings.top_k).indices
            if GIVEN_IDS in names:
                ids = rows[GIVEN_IDS][i].view(length, -1).long()
            found[SCORED_IDS].append(ids.int().flatten())
            found[SCORED_LOG_PROBS].append(scores.gather(-1, ids).float().flatten())
        if settings.target == "full":
            found.pop(SCORED_IDS)
        nested = {name: torch.nested.as_nested_tensor(rows, layout=torch.jagged) for name, rows in found.items()}
        return self.tq.kv_batch_put(
            keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(nested, batch_size=len(batch))
        )

    def compute_ref_log_prob(self, batch):
        return self._log_probs(batch, "ref")

    def update_actor(self, batch):
        self.updates.append(self._sent(batch))
        return {"metrics": {"mfu": [0.0]}}

    def _sent(self, batch):
        """Each worker's row keys, what it is sent, and what is said about it."""
        chunks = batch.chunk(len(self._dispatch_info["actor"]))  # verl's own cut (single_controller/base/decorator.py)
        sent = [_meta_to_realdata(chunk) for chunk in chunks]
        return [chunk.keys for chunk in chunks], sent, dict(batch.extra_info)

    @property
    def keys(self) -> list[list[str]]:
        """Of the policy's update: each worker's rows."""
        return self.updates[0][0]

    @property
    def sent(self) -> list:
        """Of the policy's update: what each worker is sent."""
        return self.updates[0][1]

    @property
    def extra_info(self) -> dict:
        """Of the policy's update."""
        return self.updates[0][2]


def hash_of(key: str, name: str) -> int:
    """The same for the same row in every run: policy rows by task, session and turn."""
    return random.Random(f"{ROW_NAMES.get(key, key)} {name}").getrandbits(31)


def token_log_probs(model, ids: torch.Tensor) -> torch.Tensor:
    """(tokens - 1,) log-prob of each token after the first, at the run's temperature."""
    logits = model(input_ids=ids[None]).logits[0, :-1] / TEMPERATURE
    return logits.log_softmax(-1).gather(-1, ids[1:, None])[:, 0]


def plain_model(folder: Path):
    """The run's model in float64, outside verl."""
    return AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float64, attn_implementation="eager")


class Step:
    """One step of the trainer over the same trajectories, up to what the workers are sent.

    Attributes:
        now: the SiriStep, with what it selected and added.
        settings: the run's.
        workers: what they were sent.
        rows: raw content of the policy rows by key.
        balanced: keys of the batch once it is laid out.
        batch: of the update.
        metrics: of the step.
        steps: optimizer steps.
    """

    def __init__(
        self,
        tq,
        folder: Path,
        *overrides: str,
        dp_size: int = 1,
        past: Sequence[PastRow] = (),
        written: dict | None = None,
    ):
        from siri_verl.training.step import SiriStep
        from siri_verl.training.trainer import SiriTrainer

        run = folder / uuid.uuid4().hex
        self.config = run_config(folder, f"trainer.default_local_dir={run}", *overrides)
        trainer = SiriTrainer(self.config)
        trainer._init_tokenizer()
        trainer.global_steps, trainer.total_training_steps, trainer.ref_in_actor = STEP, STEP + 1, False
        self.workers = trainer.actor_rollout_wg = trainer.ref_policy_wg = PlainWorkers(tq, plain_model(folder), dp_size)
        self.settings, self.metrics = trainer.settings, {}
        trainer.siri.replay.rows = list(past)
        trainer.siri.writer.wrote(written or {})
        self.now = trainer.iteration = SiriStep(trainer.siri, STEP, self.config.algorithm)
        groups = trainer.siri.plan(TASKS, STEP)
        batch, self.rows = put_rows(tq, groups, plain_sessions=trainer.siri.arm_plan.plain)
        self.now.task_of = {row["uid"]: row["fields"]["task_id"] for row in self.rows.values()}
        batch = trainer._balance_batch(batch, self.metrics)
        self.balanced = list(batch.keys)
        batch = trainer._compute_old_log_prob(batch, self.metrics)
        batch = trainer._compute_ref_log_prob(batch, self.metrics)
        batch = trainer._compute_advantage(batch, self.metrics)
        self.batch = trainer._update_actor(batch, self.metrics)
        trainer.background.shutdown()
        trainer.files.close()
        self.steps = self.now.layout.optimizer_steps

    def slices(self) -> list[list[str]]:
        """Row keys that each optimizer step sees, over all ranks."""
        cut = []
        for m in range(self.steps):
            keys: list[str] = []
            for rank in self.workers.keys:
                size = len(rank) // self.steps
                assert size * self.steps == len(rank), "every optimizer step has as many rows"
                keys += rank[m * size : (m + 1) * size]
            cut.append(keys)
        return cut

    def policy_slices(self) -> list[list[str]]:
        """The same without padding and internalization rows."""
        return [[key for key in keys if key in self.rows] for keys in self.slices()]

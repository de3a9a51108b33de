# SPDX-License-Identifier: Apache-2.0
"""verl's own entry points on a CPU with the presets: GRPO on two workers, PPO with a critic, SFT."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ENV = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHON": sys.executable,
    "SIRI_PLATFORM": "cpu",
    "PYTHONWARNINGS": "ignore",
}


def run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=850, cwd=cwd)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def steps(log: str) -> list[dict[str, float]]:
    """Metrics of each step, as verl's console logger writes them."""
    found = []
    for line in log.splitlines():
        if match := re.search(r"\bstep:(\d+) - (.*)", line):
            pairs = re.findall(r"([\w/@.\-]+):(?:np\.\w+\()?(-?[\d.]+(?:e[+-]?\d+)?|nan|inf)", match[2])
            found.append({"step": int(match[1])} | {name: float(value) for name, value in pairs})
    return found


def reinforce(folder: Path, *overrides: str) -> list[dict[str, float]]:
    script = ["bash", str(HERE / "grpo_cpu.sh"), str(folder), "trainer.val_before_train=False"]
    return steps(run([*script, *overrides], folder))


@pytest.mark.slow
def test_grpo_on_two_workers(tmp_path):
    found = reinforce(tmp_path, "trainer.n_gpus_per_node=2", "actor_rollout_ref.actor.use_kl_loss=True")
    assert [s["step"] for s in found] == [1, 2]
    for step in found:
        assert step["training/rollout_probs_diff_max"] < 1e-4
        assert 0 < step["actor/grad_norm"] < math.inf
        assert 0.05 < step["critic/score/mean"] < 0.6
    # the reference is the model before the first update, and the policy after it is another
    assert abs(found[0]["actor/kl_loss"]) < 1e-6 < found[1]["actor/kl_loss"]


@pytest.mark.slow
def test_ppo_with_a_critic(tmp_path):
    found = reinforce(tmp_path, "algorithm.adv_estimator=gae", f"critic.model.path={tmp_path}/model")
    for step in found:
        assert 0 < step["critic/grad_norm"] < math.inf and math.isfinite(step["critic/vf_loss"])


@pytest.mark.slow
def test_sft_writes_a_model_the_light_server_can_serve(tmp_path):
    run([sys.executable, str(HERE / "toy" / "make.py"), str(tmp_path)], tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    command += ["-m", "verl.trainer.sft_trainer", "+siri=sft_cpu", f"data.train_files={tmp_path}/sft.parquet"]
    command += ["data.train_batch_size=8", "data.max_length=256", f"model.path={tmp_path}/model", "optim.lr=1e-2"]
    command += ["trainer.total_epochs=8", f"trainer.default_local_dir={tmp_path}/out"]
    found = steps(run(command, tmp_path))
    assert found[-1]["train/loss"] < 0.5 * found[0]["train/loss"]

    import torch
    from transformers import AutoConfig, AutoTokenizer

    from siri_verl.light.engine import LightEngine
    from siri_verl.light.model import LightModel, load_model
    from siri_verl.light.sampling import SamplingParams

    folder = tmp_path / "out" / f"global_step_{found[-1]['step']}" / "huggingface"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = load_model(AutoConfig.from_pretrained(folder), str(folder), torch.float32)
    engine = LightEngine(LightModel(model, 256, 0), tokenizer.decode, [tokenizer.eos_token_id], len(tokenizer), 256)
    messages = [{"role": "user", "content": "write c"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    done = engine.submit("r", list(prompt), SamplingParams(temperature=0.0, max_tokens=20)).result(timeout=60)
    engine.close()
    reply = tokenizer.decode(done.token_ids, skip_special_tokens=True)
    assert len(set(reply)) == 1 and reply.isalpha()  # eight times one letter is what the data teach

# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The run's folder: what is written in the background is there when the run ends, also when it ends with an error."""

import pytest
from driver import prepare, run_config
from omegaconf import OmegaConf

from siri_verl.training.run_files import RunFiles


def test_closing_waits_for_what_is_still_to_be_written(tmp_path):
    files = RunFiles(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}), seed=1)
    for number in range(50):
        files.write_bank(f"{number}\n" * 10_000)
    files.close()
    assert (tmp_path / "skills.jsonl").read_text() == "49\n" * 10_000
    with pytest.raises(RuntimeError, match="shutdown"):
        files.write_bank("late")


def test_a_trainer_that_fails_closes_its_files(tmp_path):
    from siri_verl.training.trainer import SiriTrainer

    prepare(tmp_path)
    trainer = SiriTrainer(run_config(tmp_path, f"trainer.default_local_dir={tmp_path}/run"))
    for number in range(50):
        trainer.files.write_bank(f"{number}\n" * 10_000)
    with pytest.raises(AttributeError):  # nothing has been set up: the first validation finds no workers
        trainer.fit(None)
    assert (tmp_path / "run" / "skills.jsonl").read_text() == "49\n" * 10_000
    with pytest.raises(RuntimeError, match="shutdown"):
        trainer.files.write_bank("late")
    trainer.background.shutdown()

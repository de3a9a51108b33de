# SPDX-License-Identifier: Apache-2.0
import pytest
from omegaconf import OmegaConf
from support.tiny_model import make_tokenizer

from siri_verl.envs.toy import ToyEnv
from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.reply_format import FormatCheck, check_context
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings

ROWS = "{% for m in messages %}{{ m['content'] }}\\n{% endfor %}"


@pytest.mark.parametrize(
    "template, fix",
    [
        ("{% for m in messages %}{% for p in m['content'] %}{{ p['text'] }}{% endfor %}{% endfor %}", "as text"),
        ("hello", "does not contain the task"),
    ],
)
def test_a_chat_template_that_loses_the_content(template, fix):
    with pytest.raises(ConfigError, match="actor_rollout_ref.model.custom_chat_template=") as error:
        check_format(template)
    assert fix in str(error.value)


def test_a_chat_template_that_raises_is_named_with_the_settings():
    for template in ("{{ raise_exception('system first') }}", "{{ messages[0]['content'] + 1 }}"):
        with pytest.raises(ConfigError, match="chat template cannot render a conversation of user") as error:
            check_format(template)
        assert "actor_rollout_ref.model.custom_chat_template" in str(error.value)


@pytest.mark.parametrize("end", ["", "<think>", "<think></think>"])
def test_well_formed_replies_arrive_under_every_kind_of_template(end):
    check_format(ROWS + end)


def test_a_thought_opened_by_the_template_needs_its_context():
    builder = PromptBuilder(tokenizer_with(ROWS + "<think>"), PromptSettings(), 512)
    settings = siri_settings(compose_run(["+siri=[base,cpu,cpu_small]", "siri.internalization.context=no_think"]))
    with pytest.raises(ConfigError, match="siri.internalization.context='no_think'.*use think"):
        check_context(settings, builder)


def test_tags_that_do_not_survive_the_tokenizer(monkeypatch):
    monkeypatch.setattr(
        "siri_verl.training.preflight.reply_format.decode_reply", lambda tokenizer, ids: "so go kitchen"
    )
    with pytest.raises(ConfigError, match=r"actor_rollout_ref.model.path=.*malformed \(no_action_tags\)"):
        check_format(ROWS)


def tokenizer_with(template):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template.replace("\\n", "\n")
    return tokenizer


def check_format(template):
    model = {"path": "model", "custom_chat_template": template}
    config = OmegaConf.create({"actor_rollout_ref": {"model": model}})
    check = FormatCheck(config, PromptBuilder(tokenizer_with(template), PromptSettings(), 4096))
    check.look_at("task", *ToyEnv().reset(seed=0))
    check.finish()

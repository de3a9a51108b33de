# SPDX-License-Identifier: Apache-2.0
"""Plain, ReAct and Reflexion prompting, over an endpoint that serves a real small model, and in this process."""

import json

import pytest
from support.chat_server import CONTEXT, chat_server
from support.toy_player import TRAIN
from transformers import AutoTokenizer
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.panels import Panel
from siri_verl.envs.toy import ToyEnv
from siri_verl.evaluation.options import EvalOptions
from siri_verl.evaluation.play import Reflecting
from siri_verl.evaluation.prepare import prepare
from siri_verl.evaluation.prompting import PlainPrompting, ReactPrompting
from siri_verl.evaluation.prompting.reflexion import MAX_CHARS, NOTHING_LEARNED, clean_reflection, reflection_request
from siri_verl.evaluation.run import run_evaluation
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.file import EVALUATION, read_trajectories
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import TEMPLATES, PromptSettings
from siri_verl.trajectory.turn import Reply

KNOWN = TRAIN[:2]
HOW = dict(template="compact", max_response_length=16, max_turns=4, temperature=0.0, seed=5, concurrent=4, retries=0)


@pytest.fixture(scope="module")
def server(toy_model):
    with chat_server(toy_model) as (address, asked):
        yield address, asked


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    path = tmp_path_factory.mktemp("panel") / "known.json"
    Panel("toy", KNOWN, {}, "known").write(path)
    return path


def evaluate(folder, model, panel, **changes):
    summary = run_evaluation(prepare(EvalOptions(**{"model": str(model), "panel": panel, **HOW, **changes})), folder)
    found = read_trajectories(folder / "trajectories.jsonl", EVALUATION)
    return summary, found.trajectories, found.reflections


def turns(episodes):
    return {
        (e.task_id, e.session, e.trial): [(t.reply, t.prompt_tokens, t.reply_tokens) for t in e.turns] for e in episodes
    }


def test_an_endpoint_and_a_folder_give_the_same_episodes(server, toy_model, panel, tmp_path):
    address, asked = server
    asked.clear()
    there, episodes, _ = evaluate(tmp_path / "there", "toy-model", panel, endpoint=address, history_length=3)
    here, mine, _ = evaluate(tmp_path / "here", toy_model, panel, history_length=3, max_prompt_length=120)
    assert turns(episodes) == turns(mine) and there["success"] == here["success"]
    assert there["settings"]["model"] == {"name": "toy-model", "endpoint": address}
    body = asked[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("toy-model", 0.0, 16) and "seed" in body
    assert len(body["messages"]) == 1 and body["messages"][0]["content"].startswith("task: put the ")


def test_sampling_at_an_endpoint_follows_the_seed(server, panel, tmp_path):
    address, asked = server
    asked.clear()
    same = dict(endpoint=address, temperature=1.0, repeats=4, history_length=3)
    first = turns(evaluate(tmp_path / "first", "toy-model", panel, **same)[1])
    seeds = [body["seed"] for body in asked]
    assert len(set(seeds)) == len(seeds), "every request has a seed of its own"
    again, other = (
        turns(evaluate(tmp_path / f"seed{seed}", "toy-model", panel, **{**same, "seed": seed})[1]) for seed in (5, 6)
    )
    assert first == again != other


def test_react_shows_the_running_transcript_with_its_thoughts(server, toy_model, panel, tmp_path):
    address, asked = server
    asked.clear()
    summary, episodes, _ = evaluate(tmp_path / "there", "toy-model", panel, endpoint=address, prompting="react")
    assert summary["settings"]["prompting"]["kind"] == "react"
    longest = max((body["messages"] for body in asked), key=len)
    assert [m["role"] for m in longest] == ["user", "assistant"] * (len(longest) // 2) + ["user"]
    said = [m["content"] for m in longest if m["role"] == "assistant"]
    assert any(said == [t.reply.strip() for t in e.turns[: len(said)]] for e in episodes), "its own words"
    assert "interleaving thought and action" in longest[0]["content"] and "Task: put the" in longest[0]["content"]
    # The same model in this process, prompted the same way.
    _, mine, _ = evaluate(tmp_path / "here", toy_model, panel, prompting="react", max_prompt_length=CONTEXT - 16)
    assert [e.turns[0].prompt_tokens for e in mine] == [e.turns[0].prompt_tokens for e in episodes]


def test_what_does_not_fit_is_left_out_oldest_first(server, panel, tmp_path):
    address, _ = server
    _, episodes, _ = evaluate(
        tmp_path,
        "toy-model",
        panel,
        endpoint=address,
        prompting="react",
        max_turns=6,
        env_kwargs={"max_turns": 6},
        max_response_length=16,
        temperature=1.0,
        repeats=2,
    )
    all_turns = [t for e in episodes for t in e.turns]
    assert any(t.history_dropped for t in all_turns), "the server's context is small"
    assert all(t.prompt_tokens + 16 <= CONTEXT for t in all_turns)


def test_reflexion_tries_again_with_what_it_learned(server, panel, tmp_path):
    address, asked = server
    asked.clear()
    how = dict(endpoint=address, prompting="reflexion", max_trials=3, history_length=1, temperature=1.0, repeats=3)
    summary, episodes, reflections = evaluate(tmp_path / "whole", "toy-model", panel, **how)
    by_key = {(e.task_id, e.session, e.trial): e for e in episodes}
    for (task, repetition, trial), episode in by_key.items():
        # Another trial follows a failure and nothing else, in the same environment.
        assert ((task, repetition, trial + 1) in by_key) == (not episode.success and trial < 3)
        assert episode.env_seed == by_key[task, repetition, 1].env_seed
    assert {(r.task_id, r.session, r.trial) for r in reflections} == {
        (task, repetition, trial - 1) for task, repetition, trial in by_key if trial > 1
    }
    solved = [
        sum(e.success for (_, _, trial), e in by_key.items() if trial <= t) / 6
        for t in range(1, summary_trials(summary) + 1)
    ]
    assert summary["trials"] == pytest.approx(solved) and summary["success"]["mean"] == pytest.approx(solved[-1])
    questions = [b["messages"][0]["content"] for b in asked if "The attempt failed" in b["messages"][0]["content"]]
    assert len(questions) >= len(reflections) > 0 and all("Transcript:" in question for question in questions)
    shown = [b["messages"][0]["content"] for b in asked if "from earlier attempts" in b["messages"][0]["content"]]
    assert any(f"1. {reflections[0].text}" in prompt for prompt in shown)
    # Once more over the finished file: nothing is asked.
    asked.clear()
    again, _, _ = evaluate(tmp_path / "whole", "toy-model", panel, **how)
    assert not asked
    assert again["success"] == summary["success"]
    assert again["about"]["episodes_played_now"] == 0


def test_reflexion_in_this_process(toy_model, panel, tmp_path):
    how = dict(prompting="reflexion", max_trials=2, max_turns=2, history_length=0, max_prompt_length=CONTEXT - 16)
    summary, episodes, reflections = evaluate(tmp_path, toy_model, panel, **how)
    # Nobody puts a thing away within two turns.
    assert summary["trials"] == [0.0, 0.0]
    assert len(episodes) == 4
    assert len(reflections) == 2
    assert all("<" not in r.text and r.text for r in reflections), "no tags, no control tokens"
    assert all(r.reply_tokens <= 16 for r in reflections)


def summary_trials(summary):
    return len(summary["trials"])


def episode_of(count, skill_text=None, memory=()):
    """`count` turns played in the toy game."""
    env = ToyEnv(max_turns=9)
    plan = EpisodePlan(KNOWN[0], 0, ("x",), skill_text, memory=memory)
    episode = Episode(plan, *env.reset(seed=0, options={"task_id": KNOWN[0]}))
    for number in range(count):
        action = ("go attic", "go hall")[number % 2]
        reply = Reply(f"<think>thought {number}</think><action>{action}</action>")
        episode.observe(*env.step(episode.reply(reply)))
    return episode


@pytest.mark.parametrize("template", sorted(TEMPLATES))
@pytest.mark.parametrize("history", [0, 2, 5])
@pytest.mark.parametrize("skill", [None, "When a note is there: read it"])
def test_plain_messages_are_the_prompts_of_the_rollouts(toy_model, template, history, skill):
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    episode = episode_of(4, skill)
    view = episode.view()
    builder = PromptBuilder(tokenizer, PromptSettings(template, history), 10_000)
    variants = list(PlainPrompting(TEMPLATES[template], history).variants(episode))
    expected = builder.build_with_skill(view).token_ids
    ids = [
        tokenizer.apply_chat_template([dict(m) for m in v.messages], add_generation_prompt=True, return_dict=False)
        for v in variants
    ]
    assert list(ids[0]) == expected
    assert len(variants) == (min(history, 4) + 1) * (2 if skill else 1)
    # Whatever the limit, the first variant that fits is what the rollouts' builder builds.
    for limit in sorted({len(some) for some in ids}):
        builder.max_prompt_length = limit
        built = builder.build_with_skill(view)
        chosen = next(v for v, some in zip(variants, ids, strict=True) if len(some) <= limit)
        assert built.skill_missing == chosen.skill_missing
        assert (built.view.skill_text is None) == (skill is None or chosen.skill_missing)
        assert built.token_ids == next(list(some) for some in ids if len(some) <= limit)


def test_react_leaves_out_the_oldest_turns_and_says_so():
    episode = episode_of(3, memory=("look first", "then go"))
    actions = episode.view().admissible_actions
    variants = list(ReactPrompting(example="EXAMPLE TEXT").variants(episode))
    assert [v.history_dropped for v in variants] == [0, 1, 2, 3]
    assert [len(v.messages) for v in variants] == [7, 5, 3, 1]
    for variant in variants:
        opening = variant.messages[0]["content"]
        assert "EXAMPLE TEXT" in opening and "1. look first\n2. then go" in opening
        assert ("(earlier turns are left out)" in opening) == (variant.history_dropped > 0)
        assert variant.messages[-1]["content"].endswith("Admissible actions:\n" + "\n".join(actions))
    assert "thought 0" in variants[0].messages[1]["content"] and "thought 1" in variants[1].messages[1]["content"]
    short = list(ReactPrompting(history_length=1).variants(episode))
    assert [len(v.messages) for v in short] == [3, 1] and "thought 2" in short[0].messages[1]["content"]


def test_a_reflection_is_safe_text():
    special = ["<|im_end|>"]
    assert clean_reflection("go\n <|im_end|> <action>buy</action> left", special) == "go buy left"
    assert clean_reflection("  <|im_end|> ", special) == NOTHING_LEARNED
    assert len(clean_reflection("word " * 900)) <= MAX_CHARS
    variants = reflection_request("a task", [("seen", "act"), ("seen again", "")], "over", ["old plan"])
    whole, *_, least = (v.messages[0]["content"] for v in variants)
    assert "- old plan" in whole
    assert "Observation: seen\nAction: act" in whole
    assert "Action: (none)" in whole
    assert len(variants) == 3
    assert "Action" not in least
    assert "Observation: over" in least
    with pytest.raises(ValueError, match="max_trials=0"):
        Reflecting(None, 0)


def test_the_command_over_an_endpoint(server, panel, tmp_path):
    address, _ = server
    words = ["eval", "toy-model", "--endpoint", address, "--panel", panel, "--out", tmp_path, "--template", "compact"]
    words += ["--max-response-length", 16, "--max-turns", 3, "--history-length", 2]
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["about"]["device"] == "endpoint" and f"{summary['success']['mean']:.3f}" in result.output
    gone = [str(word) for word in words] + ["--prompting", "react", "--retries", "0", "--out", str(tmp_path / "other")]
    gone[gone.index(address)] = "http://127.0.0.1:9/v1"
    result = CliRunner().invoke(app, gone, env={"COLUMNS": "160"})
    assert result.exit_code == 1 and "127.0.0.1:9/v1/chat/completions" in result.output

# SPDX-License-Identifier: Apache-2.0
"""`siri-verl eval` and `siri-verl export`: what a policy does on the plain prompt, and the policy as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import Settings, app, console, fail, parse_settings


@app.command("eval")
def evaluate(
    model: Annotated[
        str, typer.Argument(help="Run, checkpoint, Hugging Face folder; with --endpoint the model's name.")
    ],
    panel: Annotated[Optional[Path], typer.Option(help="Tasks, JSON or parquet; none: the run's validation.")] = None,
    env: Annotated[Optional[str], typer.Option(help="Instead of --panel: the environment, with --split.")] = None,
    split: Annotated[Optional[str], typer.Option(help="The environment's name for it.")] = None,
    size: Annotated[Optional[int], typer.Option(help="Draw this many of the tasks.")] = None,
    panel_seed: Annotated[int, typer.Option(help="Draws them.")] = 0,
    endpoint: Annotated[Optional[str], typer.Option(help="OpenAI-compatible address, http://.../v1.")] = None,
    run: Annotated[Optional[Path], typer.Option(help="Run whose settings hold; none: the one MODEL lies in.")] = None,
    bank: Annotated[Optional[Path], typer.Option(help="Show the best active skills of this bank.")] = None,
    prompting: Annotated[str, typer.Option(help="plain, react or reflexion.")] = "plain",
    max_trials: Annotated[int, typer.Option(help="Reflexion: attempts at a task.")] = 3,
    example: Annotated[Optional[Path], typer.Option(help="ReAct, Reflexion: text file, a worked example.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", "-n", help="Episodes per task.")] = 1,
    seed: Annotated[Optional[int], typer.Option(help="None: the run's.")] = None,
    temperature: Annotated[Optional[float], typer.Option(help="None: that of the run's validation, else 0.4.")] = None,
    top_p: Optional[float] = None,
    top_k: Optional[int] = None,
    template: Annotated[Optional[str], typer.Option(help="full, compact or compact_actions; none: the run's.")] = None,
    history_length: Annotated[Optional[int], typer.Option(help="Earlier turns in the prompt.")] = None,
    task_type: Annotated[Optional[str], typer.Option(help="How task types are read; none: the run's.")] = None,
    max_turns: Optional[int] = None,
    max_prompt_length: Annotated[Optional[int], typer.Option(help="Tokens; an endpoint has its own limit.")] = None,
    max_response_length: Annotated[Optional[int], typer.Option(help="Tokens.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[Optional[str], typer.Option(help="None: that of the run's rollouts.")] = None,
    concurrent: Annotated[Optional[int], typer.Option(help="Episodes in play at a time.")] = None,
    training_tasks: Annotated[bool, typer.Option("--training-tasks", help="Allow tasks the run trained on.")] = False,
    level: Annotated[float, typer.Option(help="Coverage of the intervals.")] = 0.95,
    against: Annotated[Optional[Path], typer.Option(help="Folder of another evaluation: paired difference.")] = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder; none: eval/... in the run or here.")] = None,
    api_key_env: Annotated[str, typer.Option(help="Variable that holds the endpoint's key.")] = "OPENAI_API_KEY",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an endpoint's answer.")] = 120.0,
    retries: Annotated[int, typer.Option(help="Further attempts at an endpoint.")] = 5,
    settings: Settings = None,
) -> None:
    """Measure a model on a panel of tasks: success and score with intervals, every trajectory on disk. Killed and
    started again with the same words, it goes on where it stopped."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from siri_verl.evaluation.options import EvalOptions
    from siri_verl.evaluation.prepare import prepare
    from siri_verl.evaluation.run import run_evaluation
    from siri_verl.evaluation.summary_table import summary_lines, summary_table
    from siri_verl.runs.folder import EvaluationFolder

    try:
        options = EvalOptions(
            model=model,
            endpoint=endpoint,
            run=run,
            panel=panel,
            environment=env,
            split=split,
            size=size,
            panel_seed=panel_seed,
            env_kwargs=parse_settings(settings),
            bank=bank,
            prompting=prompting,
            max_trials=max_trials,
            example=example,
            repeats=repeats,
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            template=template,
            history_length=history_length,
            task_type=task_type,
            max_turns=max_turns,
            max_prompt_length=max_prompt_length,
            max_response_length=max_response_length,
            dtype=dtype,
            device=device,
            concurrent=concurrent,
            training_tasks=training_tasks,
            level=level,
            against=against,
            api_key_env=api_key_env,
            timeout=timeout,
            retries=retries,
        )
        prepared = prepare(options)
        folder = out or prepared.default_folder()
        files = EvaluationFolder(folder)
        solved = TextColumn("{task.fields[solved]} solved")
        with Progress(
            TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), solved, TimeElapsedColumn(), console=console
        ) as bar:
            # How many trials Reflexion needs is not known beforehand.
            total = prepared.samples if prompting != "reflexion" else None
            row, count = bar.add_task("", total=total, solved=0), [0]

            def begin(done: int) -> None:
                bar.update(row, completed=done)
                if done:
                    console.print(f"{folder}: goes on after {done} finished episodes")

            def end(record: dict) -> None:
                count[0] += record["success"]
                bar.update(row, advance=1, solved=count[0])

            summary = run_evaluation(prepared, folder, end, begin)
    except (ValueError, OSError, RuntimeError, TypeError, KeyError) as error:
        raise fail(error) from error
    console.print(summary_table(summary))
    for line in summary_lines(summary):
        console.print(line, highlight=False)
    console.print(f"written: {files.summary}, {files.trajectories}", soft_wrap=True)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Run, checkpoint, or Hugging Face folder.")],
    out: Annotated[Path, typer.Option(help="Folder to be made.")],
    step: Annotated[Optional[int], typer.Option(help="Of a run: which checkpoint; none: the newest.")] = None,
    dtype: Annotated[Optional[str], typer.Option(help="Precision of the weights; none: as they are.")] = None,
) -> None:
    """Write the plain policy as a Hugging Face folder: weights, configuration, tokenizer. No skills are needed beside
    it."""
    from siri_verl.evaluation.export import export_policy

    try:
        exported = export_policy(source, out, step=step, dtype=dtype)
    except (ValueError, OSError, RuntimeError) as error:
        raise fail(error) from error
    console.print(exported.describe(), soft_wrap=True)

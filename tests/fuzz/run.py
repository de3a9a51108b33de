# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the readers of untrusted text and prints a table.

    PYTHONPATH=$PWD:tests python tests/fuzz/run.py                      # a million inputs over all targets
    PYTHONPATH=$PWD:tests python tests/fuzz/run.py --inputs 20000 bank  # one target

With atheris (`pip install atheris`) the inputs are guided by coverage: those that reach new lines are kept and mutated
further. Without it they are mutations of the seeds alone, drawn with a seed. An input that is a finding is written to
`--out`, and its traceback printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

SHARES = {
    **{"action": 45, "skill": 10, "sanitiser": 8, "bank": 10, "trajectories": 10, "panel": 8, "catalogue": 4},
    "records": 5,
}
"""Parts in a hundred of the inputs: slow targets get fewer."""
LONGEST = 2048
"""Bytes of an input."""
SLOWEST = 20
"""Seconds after which an input is a finding."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help="all by default")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz_findings"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        return one(asked.one, asked.inputs, asked.seed, asked.out)
    chosen = asked.targets or list(SHARES)
    whole = sum(SHARES[name] for name in chosen)
    asked.out.mkdir(parents=True, exist_ok=True)
    bad = 0
    print(f"{'target':<14}{'inputs':>10}{'guided by':>12}{'features':>10}{'seconds':>9}  outcome", flush=True)
    for name in chosen:
        inputs, begun = asked.inputs * SHARES[name] // whole, time.monotonic()
        command = [sys.executable, __file__, "--one", name, "--inputs", str(inputs), "--seed", str(asked.seed)]
        done = subprocess.run([*command, "--out", str(asked.out)], capture_output=True, text=True, errors="replace")
        log = done.stdout + done.stderr
        features = re.findall(r"\bft: (\d+)", log)
        run = re.findall(r"(?:Done|stat::number_of_executed_units:) +(\d+)", log)
        guided, outcome = ("coverage" if features else "mutation"), "no finding"
        if done.returncode:
            outcome, bad = f"FINDING, see {asked.out / name}.log", bad + 1
            (asked.out / f"{name}.log").write_text(log)
        seconds = time.monotonic() - begun
        count = run[-1] if run else "?"
        print(
            f"{name:<14}{count:>10}{guided:>12}{features[-1] if features else '-':>10}{seconds:>9.0f}  {outcome}",
            flush=True,
        )
    return 1 if bad else 0


def one(name: str, inputs: int, seed: int, out: Path) -> int:
    """Fuzz one target in this process."""
    if importlib.util.find_spec("atheris") is None:
        return mutate(name, inputs, seed, out)
    import atheris

    with atheris.instrument_imports(include=["siri_verl"]):
        import fuzz.targets as targets
    corpus = Path(tempfile.mkdtemp(prefix="siri_corpus_"))
    for number, data in enumerate(targets.seeds(name)):
        (corpus / f"{number:03d}").write_bytes(data)
    words = corpus.with_suffix(".dict")
    words.write_text("".join(f'"{word}"\n' for word in map(_quoted, targets.words())))
    options = [f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-dict={words}"]
    options += [f"-artifact_prefix={out}/{name}_", "-print_final_stats=1", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[name])
    atheris.Fuzz()  # ends the process
    return 0


def _quoted(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "surrogatepass"))


def mutate(name: str, inputs: int, seed: int, out: Path) -> int:
    """Mutations of the seeds."""
    import fuzz.targets as targets

    rng, seeds = random.Random(seed), targets.seeds(name)
    for _ in range(inputs):
        data = targets.mutated(rng, seeds)
        try:
            targets.TARGETS[name](data)
        except Exception:
            (out / f"{name}_crash").write_bytes(data)
            traceback.print_exc()
            return 1
    print(f"Done {inputs} runs")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())

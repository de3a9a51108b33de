# SPDX-License-Identifier: Apache-2.0
"""Build, open and search times of a catalogue.

python benchmarks/webshop/bench_search.py --products 100000
python benchmarks/webshop/bench_search.py --files items_shuffle_1000.json items_ins_v2_1000.json
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from synthetic import write_files

from siri_verl.envs.webshop import Catalog, score_purchase
from siri_verl.envs.webshop.prepare import prepare

OPEN = "import sys,time; t=time.perf_counter(); from siri_verl.envs.webshop import Catalog; a=time.perf_counter(); \
c=Catalog.open(sys.argv[1]); c.search('red shirt'); b=time.perf_counter(); print(a-t, b-a)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=100_000, help="size of the synthetic catalogue")
    parser.add_argument("--files", nargs=2, type=Path, help="official product and attribute files instead")
    parser.add_argument("--queries", type=int, default=500)
    args = parser.parse_args()
    results: dict[str, object] = {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        products, attributes = args.files or write_files(Path(folder), args.products)
        store = Path(folder) / "store"
        start = time.perf_counter()
        cpu = time.process_time()
        catalog = prepare(products, attributes, store, show_progress=False)
        results["build_cpu_s"] = round(time.process_time() - cpu, 2)
        results["build_s"] = round(time.perf_counter() - start, 2)
        results["counts"] = catalog.manifest["counts"]
        results["store_mb"] = round(sum(catalog.manifest["files"].values()) / 2**20, 1)
        opened = subprocess.run([sys.executable, "-c", OPEN, str(store)], capture_output=True, check=True, text=True)
        results["import_s"], results["open_and_first_search_s"] = (round(float(x), 4) for x in opened.stdout.split())
        results |= time_calls(catalog, args.queries)
    print(json.dumps(results, indent=2))


def time_calls(catalog: Catalog, n_queries: int) -> dict[str, object]:
    """Milliseconds per search, product and score. Queries are goals' instructions, as agents start with."""
    goals = list(catalog.goals)
    queries = [catalog.goals[goal].instruction for goal in random.Random(0).choices(goals, k=n_queries)]
    searches = [timed(lambda query=query: catalog.search(query)) for query in queries]
    goal = catalog.goals[goals[0]]
    product = catalog[goal.asin]
    options = {name: values[0] for name, values in product.options.items()}
    score_purchase(goal, product, options, product.price)
    scores = [timed(lambda: score_purchase(goal, product, options, product.price)) for _ in range(n_queries)]
    asins = random.Random(0).choices(list(catalog), k=n_queries)
    reads = [timed(lambda asin=asin: catalog[asin]) for asin in asins]
    return {
        "search_ms_median": round(statistics.median(searches), 3),
        "search_ms_p99": round(statistics.quantiles(searches, n=100)[-1], 3),
        "product_ms_median": round(statistics.median(reads), 4),
        "score_ms_median": round(statistics.median(scores), 4),
    }


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()

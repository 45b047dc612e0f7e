#!/usr/bin/env python3
"""Writes RESULTS.md from the numbers beside this file, so that no number in it is typed by hand.

    orrery figure all --out figures && cp figures/*.svg figures/[0-9a-z]*.csv results/
    orrery claims --out figures --format markdown > results/claims.md
    orrery race --policy ALL > results/race-bundled.txt     # ALL: every preset, isolated and bound
    orrery race --policy ALL --workload ilr-1 --arrivals fixed --rate 0.05,0.1,0.2 --sessions 150 \\
        > results/race-ilr-1.txt                            # and so on to ilr-4
    results/make.py            # writes RESULTS.md
    results/make.py --check    # exit 1 if RESULTS.md says anything else

Of prose only the words are fixed; every figure's number comes from its CSV.
"""

import collections
import csv
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
BASELINES = ["fcfs", "autellix", "infercept", "continuum", "continuum-dy"]
FIGURES = [
    ("7", "Latency over load, Qwen3-Coder-30B-A3B on H100"),
    ("10", "Latency over load, Qwen3-Coder-30B-A3B on H200"),
    ("8", "Latency over load, GPT-OSS-120B on H100"),
    ("9", "Goodput at alpha 1, 2 and 3"),
    ("2", "Throughput and goodput over load"),
    ("3a", "KV eviction over normalised time"),
    ("3b", "TTFT by percentile"),
    ("6", "The four regimes"),
    ("13", "mars without one of its parts"),
    ("mechanisms", "Mechanism by mechanism on a stock engine"),
    ("gap", "The gap to what cannot be beaten"),
    ("cliff", "The concurrency cliff"),
    ("control", "What the admission window saw and did"),
    ("thresholds", "Sensitivity to thresholds"),
    ("tool-cores", "Tool cores"),
    ("tool-variance", "Spread of tool times"),
    ("arrivals", "Arrival processes"),
    ("starvation", "Tail latency by session size"),
    ("turns", "Turns per session"),
    ("overhead", "What scheduling costs: the time of one plan, measured on two cores of an AMD EPYC"),
]


def points(figure, metric="mean latency, s"):
    """(panel, x) to series to (mean, half of the 95 % interval)."""
    found = collections.defaultdict(dict)
    with open(HERE / f"{figure}.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] == metric and row["mean"] != "n/a":
                half = float(row["half_95"]) if row["half_95"] != "n/a" else None
                found[row["panel"], row["x"]][row["series"]] = (float(row["mean"]), half)
    return found


def shown(value):
    mean, half = value
    digits = 0 if mean >= 100 else 1
    return f"{mean:.{digits}f}" + ("" if half is None else f" +- {half:.{digits}f}")


def headline():
    rows, ratios = [], {}
    for (regime, rate), series in sorted(points("7").items(), key=lambda p: (p[0][0], float(p[0][1]))):
        best = min((name for name in BASELINES if name in series), key=lambda name: series[name][0])
        ratios[regime, rate] = series[best][0] / series["mars"][0]
        rows.append(
            f"| {regime} | {rate} | {shown(series['fcfs'])} | {best} | {shown(series[best])} "
            f"| {shown(series['mars'])} | {ratios[regime, rate]:.2f}x |"
        )
    return rows, ratios


def cliff():
    hits = points("cliff", "prefix hit rate")
    done = points("cliff", "time until all are done, s")
    value = lambda table, name: next(iter(next(v for (_, x), v in table.items() if x == name).values()))[0]
    names = ["window-8", "window-12", "window-16", "window-20", "window-32", "fcfs", "mars"]
    return [f"| {n} | {100 * value(hits, n):.0f} % | {value(done, n) / 3600:.2f} h |" for n in names]


def races():
    rows = []
    for load in ["bundled", "ilr-1", "ilr-2", "ilr-3", "ilr-4"]:
        rate = None
        for line in (HERE / f"race-{load}.txt").read_text().splitlines():
            if " sessions/s, " in line:
                rate = line.split(", ")[1].removesuffix(" sessions/s")
            if line.startswith("Best baseline: "):
                best, ratio = line.removeprefix("Best baseline: ").split(", ", 1)
                rows.append(f"| [{load}](results/race-{load}.txt) | {rate} | {best} | {ratio.removesuffix(' x mars.')} |")
    return rows


def page():
    rows, ratios = headline()
    apart = [r for r in ratios.values() if r > 1.1]
    ablation = points("13")
    cost = lambda name: [p[name][0] / p["mars"][0] for p in ablation.values() if name in p]
    engine = points("mechanisms")
    kept = [p["fcfs + control plane"][0] / p["mars"][0] for p in engine.values()]
    stock = [p["fcfs"][0] / p["mars"][0] for p in engine.values()]
    cores = {x: p for (panel, x), p in points("tool-cores").items() if panel == "swebench"}
    claims = (HERE / "claims.md").read_text().strip()
    figures = "\n\n".join(
        f"### {title}\n\n![{title}](results/{name}.svg)\n\nNumbers: [results/{name}.csv](results/{name}.csv)"
        for name, title in FIGURES
    )
    core_rows = "; ".join(
        f"{x}: fcfs {p['fcfs'][0]:.0f}, continuum {p['continuum'][0]:.0f}, mars {p['mars'][0]:.0f}"
        for x, p in sorted(cores.items(), key=lambda c: int(c[0]))
    )
    return f"""# Results

What `orrery figure all` and `orrery claims` gave: simulated, 400 sessions a run (300 or 200 where a figure says so), 5 seeds, 95 % intervals of Student's t over seeds, evenly spaced arrivals unless a figure says otherwise. Qwen3-Coder-30B-A3B on an H100 NVL with 8 tool cores unless a figure says otherwise. Step costs: closed forms fitted to measured kernel tables, for the H100 NVL scaled by bandwidth from the H100 SXM, for GPT-OSS-120B the roofline alone; how far those can be trusted is in [sim/README.md](sim/README.md). No GPU was involved. One figure is a measurement and says so: the time of a plan, 3 seeds. The workloads `ilr-1` to `ilr-4` meet the means that the MARS paper (arXiv 2604.26963) gives for its regimes; they are not its sessions. This page is made by [results/make.py](results/make.py) from the numbers beside it.

## In one table

Mean latency in seconds of figure 7: mars against the best of {", ".join(BASELINES)} at each point, chosen after the fact, which flatters it. The claims below have the ratios paired by seed, with intervals.

| regime | sessions/s | fcfs | best baseline | its mean | mars | ratio of means |
| --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

What to take from it:

- mars has the lowest mean at every point. At {len(ratios) - len(apart)} of {len(ratios)} it is within a tenth of the best baseline; at the others {min(apart):.1f} to {max(apart):.1f} times faster.
- Most of that is session admission. A stock engine is {min(stock):.1f} to {max(stock):.1f} times slower than mars, behind the control plane of mars {min(kept):.1f} to {max(kept):.1f} times (figure *mechanisms*). Without admission mars is up to {max(cost("mars-no-admission")):.0f} times slower; without its queue order {min(cost("mars-no-mlfq")):.2f} to {max(cost("mars-no-mlfq")):.2f} times (figure 13).
- `infercept-swap`, which the paper does not run, copies contexts to 64 GiB of host memory and comes closer than the five: see the race.
- `autellix` is far slower than its rivals even where nobody else waits. Its small quanta are why: they move a long prompt down before it is done, others run, and what it had computed is evicted. With `quanta = [2048, 2048, 2048, 2048]`, or with pins, or behind the admission of mars, it is near the rest (`orrery run --workload ilr-2 --rate 0.05 --sessions 150 --policy fcfs,autellix,mine.toml`). The preset keeps the quanta of its source.
- Against mars: on `swebench` (short contexts, some 36 turns) at 0.1/s (Poisson, figure *tool-cores*) the mean latency in seconds by tool cores is {core_rows}. With one or two cores mars is the slowest; from four on it has no advantage over continuum that the intervals would show.

## The race

Every preset, `isolated` and `bound`, 5 seeds: the best preset outside the mars family by mean latency, and its mean over that of mars, the geometric mean over seeds with its 95 % interval. The whole tables, with P90, P95, goodput at alpha 1, 2, 3 and hit rates, are behind the links. Poisson arrivals and 200 sessions on the bundled load, even arrivals and 150 sessions on the others.

| load | sessions/s | best baseline | its mean over that of mars |
| --- | --- | --- | --- |
{chr(10).join(races())}

## The concurrency cliff

300 sessions of 30 turns, 448,000 tokens of KV. AISimulate 0.13 on such a load reports 94 / 93 / 56 / 14 / 2 % prefix reuse and 2.69 / 2.16 / 2.38 / 2.92 / 3.07 hours for 8 / 12 / 16 / 20 / 32 sessions at a time. Its sessions and its step costs are its own: the reuse agrees, the hours do not.

| policy | prefix hit rate | until all are done |
| --- | --- | --- |
{chr(10).join(cliff())}

`window-N` lets N sessions in at a time under stock scheduling; `fcfs` all 300; `mars` chooses by itself.

## Claims of the paper

{claims}

## Figures

{figures}
"""


def main():
    target, text = HERE.parent / "RESULTS.md", page()
    if sys.argv[1:] == ["--check"]:
        if target.read_text() != text:
            sys.exit("RESULTS.md is not what results/make.py makes of the numbers beside it: run it")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        target.write_text(text)


main()

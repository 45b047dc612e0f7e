#!/usr/bin/env bash
# Side by side with the public simulator `inference-lab`: the same requests, batch limits and KV blocks,
# whole processes, run in turn on one machine. Prints the CPU time of both, the ratio run by run, the wall
# time, and peak memory. Prints; judges nothing.
#
#   experiments/benches/peers.sh [RUNS]          default 5 runs of each
#   SESSIONS=sess.jsonl experiments/benches/peers.sh   agentic sessions of that file instead of drawn ones
#
# Ours is the example `replay` of the workspace's tests: it reads the trace, simulates (tools on 8 cores)
# and prints latencies, but links no Parquet writer. "same machine" gives both one linear step cost, so that
# they simulate the same thing; otherwise each has its own model of the same GPU. Needs python3 and GNU time.
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-5}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/orrery-benches
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -x "$cache/bin/inference-lab" ] || cargo install inference-lab --version 1.0.0 --locked --root "$cache"
[ -n "${SKIP_BUILD:-}" ] || cargo build --release --locked -p workspace-tests --example replay
peer=$cache/bin/inference-lab ours=${CARGO_TARGET_DIR:-target}/release/examples/replay \
    work=$work runs=$runs sessions=${SESSIONS:-} python3 - <<'PY'
import json, os, random, resource, statistics, subprocess, time

work, runs = os.environ["work"], int(os.environ["runs"])
peer, ours = os.environ["peer"], os.path.abspath(os.environ["ours"])


def write(name, text):
    path = os.path.join(work, name)
    with open(path, "w") as out:
        out.write(text)
    return path


# Agentic sessions: 300 x 30 turns, a first prompt of 12,000 tokens; what a turn adds, what it generates and
# what its tool takes are lognormal.
if os.environ["sessions"]:
    with open(os.environ["sessions"]) as lines:
        sessions = [json.loads(line) for line in lines]
else:
    draw = random.Random(1)
    sessions = []
    for i in range(300):
        steps, context = [], 0
        for k in range(30):
            new = 12000 if k == 0 else max(1, int(draw.lognormvariate(6.5, 1.0)))
            output = max(1, int(draw.lognormvariate(5.2, 0.7)))
            gap = draw.lognormvariate(0.5, 1.2) if k else 0.0
            steps.append({"input": context + new, "new": new, "output": output, "gap": gap, "kind": "tool"})
            context += new + output
        sessions.append({"id": f"s{i}", "steps": steps})
write("sess.jsonl", "".join(json.dumps(s) + "\n" for s in sessions))

header = json.dumps({"orrery_trace": 2, "source": "drawn for a benchmark"}) + "\n"
lines = [header]
for s in sessions:
    turns = []
    for k, step in enumerate(s["steps"]):
        turn = {"prompt": step["input"], "output": step["output"]}
        if k:
            turn["reused"] = step["input"] - step["new"]
        if k + 1 < len(s["steps"]):
            wall = round(s["steps"][k + 1]["gap"], 6)
            # 0.55 of a core while it runs.
            turn["tools"] = [{"name": "tool", "wall_s": wall, "cpu_s": round(wall * 0.55, 6)}]
        turns.append(turn)
    lines.append(json.dumps({"id": s["id"], "turns": turns}) + "\n")
agentic = write("agentic.jsonl", "".join(lines))
chat = write("chat.jsonl", header + json.dumps({"id": "chat", "turns": [{"prompt": 1000, "output": 200}]}) + "\n")

engine = """[scheduler]
max_num_batched_tokens = 8192
max_num_seqs = 256
policy = "fcfs"
enable_chunked_prefill = true
block_size = 16
[hardware.h100]
tp = 1
"""
linear = {"t0": 0.012, "t0p": 0.011, "tp": 1.3e-5, "td": 1.0e-4, "tk": 3.3e-8}
priced = "step_cost = { model = \"linear\", " + ", ".join(f"{k} = {v}" for k, v in linear.items()) + " }\n"
llama = write("l8.toml", 'model = "llama-3.1-8b-instruct"\n' + engine)
qwen = write("q30.toml", 'model = "qwen3-30b-a3b"\n' + engine)
same = write("q30-linear.toml", 'model = "qwen3-30b-a3b"\n' + engine + priced)


def poisson(count):
    return write(f"w{count}.toml", f"""arrival_pattern = "poisson"
arrival_rate = 5.0
num_requests = {count}
seed = 42
input_len_dist = {{ type = "fixed", value = 1000 }}
output_len_dist = {{ type = "fixed", value = 200 }}
""")


replayed = write("ws.toml", """sessions_path = "sess.jsonl"
arrival_pattern = "poisson"
arrival_rate = 0.1
num_sessions = 300
seed = 42
[input_len_dist]
type = "fixed"
value = 1
[output_len_dist]
type = "fixed"
value = 1
""")

# Blocks of 16 that the peer's model has room for: 72 GB less the weights, over its bytes per token.
blocks = {"llama": (72_000_000_000 - 16_060_000_000) // (131_072 * 16), "qwen": (72_000_000_000 - 61_000_000_000) // (49_152 * 16)}


def chats(count):
    return (
        [peer, "-q", "-c", llama, "-w", poisson(count)],
        [ours, chat, "rate=5", f"times={count}", f"kv_blocks={blocks['llama']}"],
    )


def agents(config, *more):
    return (
        [peer, "-q", "-c", config, "-w", replayed],
        [ours, agentic, "model=qwen3-coder-30b-a3b", "rate=0.1", f"kv_blocks={blocks['qwen']}", *more],
    )


cost = "cost=" + ",".join(str(v) for v in linear.values())
loads = {
    "chat 1k": (chats(1_000), 1),
    "chat 10k": (chats(10_000), 1),
    "chat 100k": (chats(100_000), 3),
    "agentic, same machine": (agents(same, cost), 1),
    "agentic, each its own": (agents(qwen), 1),
    "  the same under mars": (agents(qwen, "policy=mars"), 1),
}


def cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(command):
    # GNU time for the peak: that of a child started from here would include this interpreter's memory.
    peak = os.path.join(work, "peak")
    before, began = cpu(), time.monotonic()
    subprocess.run(["/usr/bin/time", "-o", peak, "-f", "%M", *command], cwd=work, stdout=subprocess.DEVNULL, check=True)
    used, took = cpu() - before, time.monotonic() - began
    with open(peak) as line:
        return used, took, int(line.read()) / 1024


print(f"{runs} runs of each, in turn; median (CPU seconds, wall seconds, peak MiB); ratio is ours over the peer's")
print(f"{'load':<24}{'peer CPU':>10}{'ours':>9}{'CPU ratio (min-max)':>24}{'wall ratio':>12}{'peer MiB':>10}{'ours':>7}")
for name, ((theirs, mine), divide) in loads.items():
    for command in (theirs, mine):
        measure(command)
    pairs = [(measure(theirs), measure(mine)) for _ in range(max(1, runs // divide))]
    median = lambda pick: statistics.median(pick(p) for p in pairs)
    ratios = [m[0] / t[0] for t, m in pairs]
    print(
        f"{name:<24}{median(lambda p: p[0][0]):>10.3f}{median(lambda p: p[1][0]):>9.3f}"
        f"{statistics.median(ratios):>10.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        f"{median(lambda p: p[1][1] / p[0][1]):>14.2f}"
        f"{median(lambda p: p[0][2]):>10.0f}{median(lambda p: p[1][2]):>7.0f}",
        flush=True,
    )
PY

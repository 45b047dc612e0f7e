#!/usr/bin/env bash
# Everything that a GPU has to show, in under eight minutes, from binaries that were built elsewhere.
#
#   experiments/gpu/validate.sh BIN_DIR OUT_DIR [MODEL]
#
# BIN_DIR holds `orrery` (built with --features cuda) and, if wanted, the test binaries `kernels-nvrtc` and
# `kernels-gpu`: copy what these print
#
#   cargo test --release -p engine --features cuda --test nvrtc --no-run
#   cargo test --release -p engine --features cuda --test cuda --no-run
#
# (`strip` takes `orrery` from 430 MB, most of them line tables, to 49 MB.)
#
# OUT_DIR gets a folder a stage: out, err, seconds, exit. One stage that fails or runs out of time does not
# stop the others; the exit code is 1 then. MODEL is what the benchmark and the comparison run (default:
# random:llama-3.1-8b).
#
# Limits of the stages, seconds, the last five of each for ending:
#
#   doctor 10, smoke 45, nvrtc 20, kernels 55, memcheck 12, racecheck 12, bench 45, bench-moe 25,
#   calibrate 55, traces 10, ilr-1 48, ilr-2 50, ilr-3 41, ilr-4 48: 476 in all, of 480.
#
# A stage that is out of time gets what Ctrl-C sends, and five seconds to end: benchmarks then print the cells
# that are timed, a comparison prints and keeps the runs that are complete (the same command goes on from
# there), and tools and temporary folders are gone.
#
# It has not run on a GPU yet.
set -uo pipefail

if [[ $# -lt 2 || $# -gt 3 ]]; then
    echo "usage: $0 BIN_DIR OUT_DIR [MODEL]" >&2
    exit 2
fi
bin=$(cd "$1" && pwd) || exit 2
if [[ ! -x $bin/orrery ]]; then
    echo "$0: no program $bin/orrery" >&2
    exit 2
fi
mkdir -p "$2" || exit 2
out=$(cd "$2" && pwd)
model=${3:-random:llama-3.1-8b}

# A machine with PyTorch has the libraries in Python's packages.
for package in nvidia.cu13 nvidia.cuda_nvrtc nvidia.cublas; do
    path=$(python3 -c "import $package as m; print(list(m.__path__)[0])" 2>/dev/null) || continue
    LD_LIBRARY_PATH=$path/lib:${LD_LIBRARY_PATH:-}
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64

failed=0
stage() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 code=0
    shift 2
    mkdir -p "$out/$name"
    local start=$SECONDS
    timeout --signal=INT --kill-after=5 $((limit - 5)) "$@" >"$out/$name/out" 2>"$out/$name/err" || code=$?
    echo $((SECONDS - start)) >"$out/$name/seconds"
    echo "$code" >"$out/$name/exit"
    printf '%-14s exit %3d, %4d s of %d\n' "$name" "$code" $((SECONDS - start)) "$limit"
    if [[ $code -ne 0 ]]; then
        failed=1
        grep -m 1 -E '^(error|warning): ' "$out/$name/err" | sed 's/^/    /'
    fi
}

# What is there, before anything is compiled.
stage doctor 10 "$bin/orrery" doctor --format csv
gpu=$(grep -m 1 '^executor cuda,' "$out/doctor/out" | cut -d, -f2-)
# Libraries, NVRTC, cuBLASLt and graph capture at their smallest: one short step of a tiny shape.
stage smoke 45 "$bin/orrery" engine bench --device cuda --model random:8m --batches 1,2 --contexts 64 \
    --prompts 64 --repeats 2 --kv-gib 1 --format json
# Every kernel against the formulas, whole steps against the reference.
if [[ -x $bin/kernels-nvrtc ]]; then
    stage nvrtc 20 "$bin/kernels-nvrtc" --nocapture
fi
if [[ -x $bin/kernels-gpu ]]; then
    stage kernels 55 "$bin/kernels-gpu" --nocapture
fi
# Leaks, reads of what nobody wrote, races: where the tool is.
if [[ -x $bin/kernels-gpu ]] && command -v compute-sanitizer >/dev/null; then
    stage memcheck 12 compute-sanitizer --leak-check full --error-exitcode 1 "$bin/kernels-gpu" dense::
    stage racecheck 12 compute-sanitizer --tool racecheck --error-exitcode 1 "$bin/kernels-gpu" dense::
fi
# Times against floors, and a log of steps for `orrery calibrate`.
stage bench 45 "$bin/orrery" engine bench --device cuda --model "$model" --repeats 3 \
    --steps "$out/steps.csv" --format json
stage bench-moe 25 "$bin/orrery" engine bench --device cuda --model random:qwen3-30b-a3b --repeats 3 \
    --batches 1,32 --contexts 2048 --prompts 8192 --kv-gib 20 --format json

# Sessions of the four ILR mixtures under five policies, in the engine and in the simulator.
#
# What fits. A stage of about 48 s has 43 s before it is told to end, 5 of which go to starting: 38 s for five
# policies, so a run may take 7.6 s. At the targets for Llama-3.1-8B (prefill 25,000 tokens/s, a decode step
# 4.5 ms alone and 7.5 ms with 32) a whole session of ilr-1 is 23,000 new prompt tokens and 2,100 output
# tokens: 0.9 s + 2,100 * 4.5 ms = 10.4 s of engine alone, and 24 s of tools. One of ilr-4 is 60,000 and 1,700:
# 10.1 s. Several at once share decode steps, not prefill. So lengths are divided by 6.7 and times by 20:
#
#             sessions  new tokens  output  longest   prefill  decode at 6 ms  tools of all
#   ilr-1           12      53,860   3,173   22,220     2.2 s   3,173/8: 2.4 s        9.9 s
#   ilr-2           10      59,228   2,772   28,182     2.4 s   2,772/7: 2.4 s        8.1 s
#   ilr-3            8      51,965   2,012   26,179     2.1 s   2,012/6: 2.0 s        6.1 s
#   ilr-4            6      71,457   1,176   27,220     2.9 s   1,176/4: 1.8 s        4.3 s
#
# Prefill and decode with so many decoding at once make 4 to 5 s; the last session's own tools, and contexts
# that are computed again after an eviction, the rest. The simulator's cost model of an H200 gives for the five
# policies together 36, 39, 29 and 36 s. Load 8 offers the sessions within some 2 s: 8 times what the engine
# serves one at a time, which it does not, since a step with 8 decodes takes little longer than one with one.
# One repeat: how much runs vary is not measured then, and neither is any order of policies called wrong.
#
# The GPU could hold 900,000 tokens of KV, which all these sessions together do not fill: nothing would be
# evicted and every policy would be the same. The pool is 36,000 tokens: half to two thirds of the sessions'
# largest contexts, which are 54,000 to 73,000 tokens in all. Tools have two cores, which 3.3 to 7.1 s of CPU
# time keep busy for a quarter to a half of a run.
#
# Exit 1 of such a stage with a report in `out` says that the bar of `orrery validate --help` is not met.
length=0.15
time=0.05
engine=(--engine --executor cuda --weights "$model" --context 28672 --kv-tokens 36000 --token-budget 2048
    --max-running 16 --tool-cores 2 --rounds 3 --repeats 1 --format json)

compare() { # NAME SECONDS VALIDATE_FLAGS...
    local name=$1 limit=$2
    shift 2
    if [[ $gpu != runs:* ]]; then
        # The processor would stand in for the GPU, which is not what is asked.
        stage "$name" "$limit" bash -c 'echo "error: executor cuda $0" >&2; exit 1' "$gpu"
        return
    fi
    stage "$name" "$limit" "$bin/orrery" validate "${engine[@]}" --out "$out/$name/study" "$@"
}

# What steps and processes cost, once for all four. The grid has 156 batches, from 4.5 ms to 0.12 s: 2.2 s a
# round at the targets. Three rounds and the one that warms up take 9 s, two before the session and two after it
# 9 s. Processes take 4 s, twice, the session and what is beside computing 4 s: 30 s, and 5 s to start.
compare calibrate 55 --policy fcfs --sessions 1 --loads 1

traces() {
    local pair
    for pair in ilr-1:12 ilr-2:10 ilr-3:8 ilr-4:6; do
        "$bin/orrery" trace generate "${pair%:*}" --sessions "${pair#*:}" --seed 1 -o "$out/${pair%:*}-whole.jsonl" &&
            "$bin/orrery" trace scale "$out/${pair%:*}-whole.jsonl" --time "$time" --length "$length" \
                -o "$out/${pair%:*}.jsonl" || return
    done
}
export -f traces
export bin out time length
stage traces 10 bash -c traces

replay() { # WORKLOAD SESSIONS SECONDS
    compare "validate-$1" "$3" --calibration "$out/calibrate/study" --workload "$out/$1.jsonl" --sessions "$2" \
        --policy fcfs,continuum-dy,autellix,infercept,mars --loads 8
}
replay ilr-1 12 48
replay ilr-2 10 50
replay ilr-3 8 41
replay ilr-4 6 48
exit "$failed"

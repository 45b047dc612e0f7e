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
# OUT_DIR gets a folder a stage: out, err, seconds, exit. One stage that fails or runs out of time
# does not stop the others; the exit code is 1 then. MODEL is what the benchmark runs (default:
# random:llama-3.1-8b).
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
    timeout --kill-after=5 "$limit" "$@" >"$out/$name/out" 2>"$out/$name/err" || code=$?
    echo $((SECONDS - start)) >"$out/$name/seconds"
    echo "$code" >"$out/$name/exit"
    printf '%-14s exit %3d, %4d s of %d\n' "$name" "$code" $((SECONDS - start)) "$limit"
    [[ $code -eq 0 ]] || failed=1
}

# What is there, before anything is compiled.
stage doctor 20 "$bin/orrery" doctor --format json
# Libraries, NVRTC, cuBLASLt and graph capture at their smallest: one short step of a tiny shape.
stage smoke 45 "$bin/orrery" engine bench --device cuda --model random:8m --batches 1,2 --contexts 64 \
    --prompts 64 --repeats 2 --kv-gib 1 --format json
# Every kernel against the formulas, whole steps against the reference.
if [[ -x $bin/kernels-nvrtc ]]; then
    stage nvrtc 25 "$bin/kernels-nvrtc" --nocapture
fi
if [[ -x $bin/kernels-gpu ]]; then
    stage kernels 75 "$bin/kernels-gpu" --nocapture
fi
# Leaks, reads of what nobody wrote, races: where the tool is.
if [[ -x $bin/kernels-gpu ]] && command -v compute-sanitizer >/dev/null; then
    stage memcheck 20 compute-sanitizer --leak-check full --error-exitcode 1 "$bin/kernels-gpu" dense::
    stage racecheck 20 compute-sanitizer --tool racecheck --error-exitcode 1 "$bin/kernels-gpu" dense::
fi
# Times against floors, and a log of steps for `orrery calibrate`.
stage bench 110 "$bin/orrery" engine bench --device cuda --model "$model" --repeats 3 \
    --steps "$out/steps.csv" --format json
stage bench-moe 40 "$bin/orrery" engine bench --device cuda --model random:qwen3-30b-a3b --repeats 3 \
    --batches 1,32 --contexts 2048 --prompts 8192 --kv-gib 20 --format json
# Sessions of two ILR mixtures, a fiftieth as long and in a twentieth of the time, in the engine and in the
# simulator. With more of either the eight minutes would not do.
for workload in ilr-1 ilr-3; do
    "$bin/orrery" trace generate "$workload" --sessions 12 --seed 1 -o "$out/$workload-whole.jsonl" 2>/dev/null &&
        "$bin/orrery" trace scale "$out/$workload-whole.jsonl" --time 0.05 --length 0.02 \
            -o "$out/$workload.jsonl" 2>/dev/null
    stage "validate-$workload" 60 "$bin/orrery" validate --engine --executor cuda --weights random:28m \
        --workload "$out/$workload.jsonl" --policy fcfs,continuum-dy,autellix,infercept,mars --sessions 12 \
        --loads 2 --repeats 1 --rounds 2 --context 4096 --kv-tokens 8192 --format json \
        --out "$out/validate-$workload/runs"
done
exit "$failed"

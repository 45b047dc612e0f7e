#!/usr/bin/env bash
# Instructions of one round of each hot path (tests/src/hot.rs), counted by valgrind, against the baseline.
#
#   experiments/benches/instructions.sh            count and compare; exit 1 if one differs by more
#   experiments/benches/instructions.sh --record   write the baseline anew
#
# Instructions do not depend on how busy the machine is, nor on its clock; they do on the compiler. So the
# baseline names it, the tolerance is 5 % with the same compiler and 15 % with another. Fewer than that is
# told too: record it. Two runs of a path with 100 and 300 rounds differ by 200 rounds and nothing else.
# Needs valgrind: without it, it says so and ends with 0. Run nothing else in the same target folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
baseline=experiments/benches/instructions.txt
command -v valgrind > /dev/null || { echo "SKIPPED: no valgrind" >&2; exit 0; }
# Valgrind does not know every vector instruction that a compiler may choose for its own machine.
[ -n "${SKIP_BUILD:-}" ] || RUSTFLAGS= cargo build --release --locked -p workspace-tests --example hot_path
program=${CARGO_TARGET_DIR:-target}/release/examples/hot_path
compiler=$(rustc --version | cut -d' ' -f2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count() { # path rounds
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2> "$work/told" ||
        { cat "$work/told" >&2; echo "valgrind could not run $1" >&2; exit 3; }
    sed -n 's/.*Collected *: *\([0-9]*\).*/\1/p' "$work/told"
}

echo "rustc $compiler" > "$work/now"
for path in plan-1 plan-32 plan-256 allocate-and-free look-up; do
    few=$(count "$path" 100)
    many=$(count "$path" 300)
    echo "$path $(((many - few) / 200))" >> "$work/now"
done
if [ "${1:-}" = --record ] || [ ! -f "$baseline" ]; then
    cp "$work/now" "$baseline"
    cat "$baseline"
    exit 0
fi
awk '
    FNR == 1 { if (NR == 1) old = $2; else tolerance = $2 == old ? 5 : 15; next }
    NR == FNR { was[$1] = $2; next }
    {
        if (!($1 in was)) { printf "%-18s %10d  not in the baseline\n", $1, $2; bad = 1; next }
        change = 100 * ($2 / was[$1] - 1)
        word = change > tolerance ? "MORE" : change < -tolerance ? "fewer: record it" : "as before"
        printf "%-18s %10d instructions, was %10d, %+.1f %% (within %d %%)  %s\n", $1, $2, was[$1], change, tolerance, word
        if (change > tolerance) bad = 1
    }
    END { exit bad }
' "$baseline" "$work/now"

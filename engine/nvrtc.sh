#!/usr/bin/env bash
# Compiles every CUDA kernel with NVRTC, on a machine that needs neither a GPU nor a toolkit.
#
#   engine/nvrtc.sh [CARGO TEST OPTIONS]
#
# The compiler is the Python package nvidia-cuda-nvrtc, in target/nvrtc-venv. PYTHON names the
# interpreter that makes it (default: python3).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/target/nvrtc-venv
package=nvidia-cuda-nvrtc==13.0.88

if [[ ! -f $venv/$package ]]; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$package" >&2
    touch "$venv/$package"
fi
library=$(find "$venv" -name 'libnvrtc.so.*' | head -n 1)
if [[ -z $library ]]; then
    echo "$0: no libnvrtc.so in $package" >&2
    exit 1
fi
cd "$root"
LD_LIBRARY_PATH=$(dirname "$library")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
    cargo test --locked --workspace --features cuda --test nvrtc "$@"

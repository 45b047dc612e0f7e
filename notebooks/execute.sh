#!/usr/bin/env bash
# Executes a notebook on a folder of run directories; fails if a cell does.
#
#   notebooks/execute.sh RUNS_DIR [OUT.ipynb]
#
# NOTEBOOK names it (default: first_look.ipynb; claims.ipynb wants the folder of `orrery claims`). OUT.ipynb gets the executed notebook; without it nothing is kept. The virtual environment is
# target/notebooks-venv, made anew when requirements.txt changes. PYTHON names the interpreter that
# makes it (default: python3).
set -euo pipefail

if [[ $# -lt 1 || $# -gt 2 ]]; then
    echo "usage: $0 RUNS_DIR [OUT.ipynb]" >&2
    exit 2
fi
if [[ ! -d $1 ]]; then
    echo "$0: no such folder: $1" >&2
    exit 2
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/../target/notebooks-venv
ORRERY_RUNS=$(cd "$1" && pwd)
export ORRERY_RUNS
export NOTEBOOK=$here/${NOTEBOOK:-first_look.ipynb} OUT=${2:-}

# The copy of the requirements is written last, so a half-made environment is not taken for one.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt" || ! "$venv/bin/python" -c '' 2>/dev/null; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

# The user's own Jupyter and IPython settings have no say here.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export IPYTHONDIR=$scratch/ipython JUPYTER_CONFIG_DIR=$scratch/jupyter JUPYTER_PREFER_ENV_PATH=1

"$venv/bin/python" - <<'PYTHON'
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def plain(text):
    """Without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


notebook, out = Path(os.environ["NOTEBOOK"]), os.environ["OUT"]
nb = nbformat.read(notebook, as_version=4)
client = NotebookClient(
    nb,
    timeout=600,
    kernel_name="python3",
    extra_arguments=["--IPKernelApp.log_level=ERROR"],
    resources={"metadata": {"path": notebook.parent}},
)
try:
    client.execute()
except CellExecutionError as error:
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    for output in outputs:
        if output.output_type == "error":
            print(plain("\n".join(output.traceback)), file=sys.stderr)
    sys.exit(f"{notebook.name}: a cell failed with {error.ename}")
cells = [cell for cell in nb.cells if cell.cell_type == "code"]
if out:
    nbformat.write(nb, out)
print(f"{notebook.name}: {len(cells)} cells executed on {os.environ['ORRERY_RUNS']}")
PYTHON

"""One part of a sweep per Ray task, and the parts joined at the end.

    pip install ray
    python ray_sweep.py knee.toml --shards 16 --cpus 8
    python ray_sweep.py knee.toml --shards 16 --address auto     # on a running cluster

Every node needs the program (`--orrery PATH`), and a folder that all of them share for `--out`. A
task whose node is lost is started again and goes on where it was. The exit code is the gravest of the
parts', then that of the merge.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def sweep(orrery: str, file: str, out: str, shard: int, shards: int, cpus: int) -> tuple[int, str]:
    """Does one part; its exit code, and what it said to people."""
    command = [orrery, "sweep", file, "--shard", f"{shard}/{shards}"]
    command += ["--out", f"{out}.shard-{shard}-of-{shards}", "--threads", str(cpus), "--format", "csv"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode < 0 or done.returncode == 130:
        # Killed: Ray tries again, and the part goes on where it was.
        raise RuntimeError(f"shard {shard} was stopped ({done.returncode})")
    return done.returncode, done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the sweep file, at the same path on every node")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1, help="per part")
    parser.add_argument("--out", help="folder of the joined sweep [default: runs/FILE]")
    parser.add_argument("--orrery", default="orrery", help="the program")
    parser.add_argument("--address", help="a running cluster [default: this machine]")
    args = parser.parse_args()
    file = str(Path(args.file).resolve())
    out = str(Path(args.out or Path("runs") / Path(args.file).stem).resolve())

    import ray

    ray.init(address=args.address)
    task = ray.remote(num_cpus=args.cpus, max_retries=5, retry_exceptions=[RuntimeError])(sweep)
    parts = [
        task.remote(args.orrery, file, out, shard, args.shards, args.cpus)
        for shard in range(args.shards)
    ]
    worst = 0
    for shard, (code, said) in enumerate(ray.get(parts)):
        worst = max(worst, code)
        if code != 0:
            print(f"shard {shard}: exit code {code}\n{said}", file=sys.stderr)
    folders = [f"{out}.shard-{shard}-of-{args.shards}" for shard in range(args.shards)]
    merged = subprocess.run([args.orrery, "merge", *folders, "-o", out], check=False)
    return max(worst, merged.returncode)


if __name__ == "__main__":
    sys.exit(main())

"""kill -9 at random moments, then on to the end: are the parameters bit-equal to an uninterrupted run's?

``python benchmarks/kill.py [--kills 10]``

Each kill comes at a moment drawn over the whole of a run, start-up, steps, evaluation and saving included. Prints
the step that each continuation began at, and at the end whether every array of the state is bit-equal.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PROGRAM = """
import dataclasses, sys
from jaxseg import config
from jaxseg.train import loop
e = config.load_config("unet_shapes", tiny=True)
e = dataclasses.replace(e, steps=600, eval_every=100, save_every=20, ema=0.9, devices=1)
loop.train(e, sys.argv[1])
"""


def start(workdir: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(workdir)], stderr=subprocess.PIPE, text=True)


def saved_checksums(workdir: Path) -> dict[str, str]:
    """Of the last step, as its checkpoint holds them (and as restoring verified)."""
    newest = max((p for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    return json.loads(next(newest.glob("about/metadata")).read_text())["checksums"] | {"step": newest.name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    arguments = parser.parse_args()
    rng = np.random.default_rng()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        begun = time.time()
        start(whole).communicate()
        seconds = time.time() - begun
        print(f"an uninterrupted run takes {seconds:.0f} s")
        for kill in range(arguments.kills):
            process = start(killed)
            moment = float(rng.uniform(0, 0.5 * seconds))
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            said = [line for line in (process.communicate()[1] or "").splitlines() if "resuming" in line]
            print(f"kill {kill + 1} after {moment:5.1f} s; {said[0] if said else 'from the beginning'}")
        start(killed).communicate()
        a, b = saved_checksums(whole), saved_checksums(killed)
        print("bit-equal" if a == b else f"DIFFERENT: {[k for k in a if a[k] != b.get(k)][:5]}", f"({len(a)} arrays)")
        sys.exit(a != b)


if __name__ == "__main__":
    main()

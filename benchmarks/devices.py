"""Eight forced CPU devices against one, by jit and by pmap, and two processes over loopback: are the numbers the same?

``python benchmarks/devices.py [--steps 5]``

Trains the same small U-Net with batch normalisation and dropout on the same batches each way and prints the largest
relative difference of the losses and of the batch statistics from those of one device.
"""

import argparse
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import os, pickle, sys
import jax, numpy as np
from dataclasses import replace
from jaxseg import config
from jaxseg.data import pipeline
from jaxseg.train import create_state, init_variables, make_train_step, parallel
kind, steps, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
parallel.connect_hosts()
e = config.load_config("unet_shapes", tiny=True)
sgd = replace(e.optimizer, kind="sgd", learning_rate=0.01, momentum=0.0)
e = replace(e, model=e.model.clone(dropout=0.2), optimizer=sgd)
stream = dict(batch_size=16, seed=0, num_threads=0)
example = next(pipeline.train_batches(e.data.train, e.data.augment, **stream))
stream |= dict(process_index=jax.process_index(), process_count=jax.process_count())
batches = pipeline.train_batches(e.data.train, e.data.augment, **stream)
variables = init_variables(e.model, e.task, example, 0)
optimizer = e.optimizer.transformation(variables["params"], 100)
how = parallel.spread(kind)
step = how.compile(make_train_step(e.model, e.task, optimizer))
state, losses = how.place(create_state(variables, optimizer, 0, False)), []
for _ in range(steps):
    state, metrics = step(state, how.put(next(batches)))
    losses.append(float(metrics["loss"]))
stats = np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.device_get(how.gather(state).batch_stats))])
if jax.process_index() == 0:
    with open(out, "wb") as file:
        pickle.dump((len(jax.devices()), jax.process_count(), np.asarray(losses), stats), file)
"""


def run(kind: str, devices: int, processes: int, steps: int):
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        running = []
        for index in range(processes):
            flags = f"--xla_force_host_platform_device_count={devices}"
            hosts = {
                "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
                "JAX_NUM_PROCESSES": str(processes),
                "JAX_PROCESS_ID": str(index),
            }
            env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags} | (hosts if processes > 1 else {})
            command = [sys.executable, "-c", PROGRAM, kind, str(steps), str(Path(folder, "out"))]
            running.append(subprocess.Popen(command, env=env))
        codes = [process.wait() for process in running]  # all of them, before any is judged
        if any(codes):
            raise SystemExit(f"{kind} on {processes} x {devices} failed")
        return pickle.loads(Path(folder, "out").read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    steps = parser.parse_args().steps
    _, _, losses, stats = run("jit", 1, 1, steps)
    print(f"one device: losses {losses.round(4).tolist()}")
    print(
        f"{'spread':8} {'processes':>9} {'devices':>8} {'loss':>10} {'statistics':>10}   largest difference, relative"
    )
    for kind, devices, processes in (("jit", 8, 1), ("pmap", 8, 1), ("jit", 4, 2), ("pmap", 4, 2)):
        total, count, other, other_stats = run(kind, devices, processes, steps)
        loss = abs(other / losses - 1).max()
        statistics = (abs(other_stats - stats) / abs(stats).max()).max()
        print(f"{kind:8} {count:9} {total:8} {loss:10.1e} {statistics:10.1e}")


if __name__ == "__main__":
    main()

"""The peers' side: does a case when told to, over and over, and says how long it took.

usage: worker.py LIBRARY DATA THREADS DEVICE

Reads one JSON object per line from standard input and answers with one per line:

{"do": "variants", "case"}             -> {"variants": [...]}
{"do": "outputs", "case", "file"}      -> {}; the results in a safetensors file
{"do": "prepare", "case", "variant"}   -> {}; what `time` will run
{"do": "time", "seconds"}              -> {"seconds": [...], "waited": w}
{"do": "memory", "case", "variant"}    -> {"bytes": n}; in a worker of its own

`waited` is the share of the block's time in which this process could have run but had to wait for a
processor. `memory` is the growth of the resident set's peak over what the process held before the
case was prepared. lesio's worker (../src/bin/peers-worker.rs) speaks the same.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from store import Store  # noqa: E402

MODULES = {"torch": "cases_torch", "onnxruntime": "cases_onnx", "science": "cases_science"}


def waited_seconds():
    """Time that this process's threads spent runnable but not running."""
    total = 0
    for thread in os.listdir("/proc/self/task"):
        try:
            total += int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1])
        except OSError:
            pass  # The thread has just ended, or the kernel keeps no such account.
    return total * 1e-9


def time_block(work, seconds):
    times = []
    waited, begin = waited_seconds(), time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    wall = time.perf_counter() - begin
    return {"seconds": times, "waited": (waited_seconds() - waited) / wall}


def resident(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def peak_growth(prepare):
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # The peak starts anew.
    work = prepare()
    for _ in range(3):
        work()
    return {"bytes": resident("VmHWM") - before}


def main():
    library, data, threads, device = sys.argv[1:]
    # The libraries may print to standard output: keep it for the protocol alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(MODULES[library])
    module.start(int(threads), device)
    store = Store(data)
    cases = {}
    work = None
    for line in sys.stdin:
        request = json.loads(line)
        name = request.get("case")
        if name is not None and name not in cases:
            cases[name] = module.CASES[name](store)
        answer = {}
        match request["do"]:
            case "variants":
                answer = {"variants": cases[name].variants}
            case "outputs":
                store.write(request["file"], cases[name].outputs())
            case "prepare":
                work = cases[name].prepare(request["variant"])
                for _ in range(2):
                    work()
            case "time":
                answer = time_block(work, request["seconds"])
            case "memory":
                answer = peak_growth(lambda: cases[name].prepare(request["variant"]))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

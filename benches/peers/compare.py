"""Checks that lesio and its peers agree, times them in turn, and writes the report."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy

import report
from sides import Worker, WorkerError, disturbed, lesio, measured_block, peer, wait_for_quiet
from store import Store, write_data
from table import of_device, selected

BEST_OF_SECONDS = 0.6
ROUNDING = "rounding."


def run(options, executable, work, docs):
    every = of_device(options.device)
    if options.list:
        for case in every:
            print(f"{case.name:24} {case.work} ({case.library})")
        return 0
    cases = selected(options.only, options.device)
    if not cases:
        print(f"no case {' or '.join(options.only)}; see --list")
        return 2
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    if executable:
        with_export = [executable, "--export", data]
        if os.spawnv(os.P_WAIT, executable, [str(part) for part in with_export]) != 0:
            return 1
    if options.device == "cpu":
        write_data(data)
    bench = Bench(options, executable, data)

    outcome = report.start(options, machine(options.device))
    kept = report.kept(options, [case.name for case in cases])
    failures = 0
    if options.check:
        return check(bench, cases)
    if options.device == "cpu":
        outcome["sgemm_gflops"] = bench.sgemm()
    for case in cases:
        try:
            entry = bench.case(case)
        except (WorkerError, Disagreement) as error:
            failures += 1
            entry = {"name": case.name, "error": str(error)}
        outcome["cases"].append(report.with_peak(entry, outcome["sgemm_gflops"]))
        print(report.line(entry), flush=True)
    report.finish(outcome)
    report.merge(outcome, kept, [case.name for case in every])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(outcome, indent=1) + "\n")
    print(report.table(outcome))
    print(f"report: {options.out}")
    complete = len(outcome["cases"]) == len(every) and options.side == "both" and not options.quick and not failures
    if complete or options.docs:
        report.write_docs(docs, outcome)
        print(f"table: {docs}")
    return 1 if failures else 0


def check(bench, cases):
    """Compares the numbers of all cases and times nothing."""
    failures = 0
    for case in cases:
        try:
            with Workers(bench, case.library) as workers:
                found = bench.check(case, workers)
            print(f"{case.name:24} {found['relative']:.1e} ({found['tensor']}), {found['allowed']:.0e} allowed", flush=True)
        except (WorkerError, Disagreement) as error:
            failures += 1
            print(f"{case.name:24} FAILED: {error}", flush=True)
    return 1 if failures else 0


class Disagreement(Exception):
    """The two sides' numbers differ."""


class Bench:
    def __init__(self, options, executable, data):
        self.options = options
        self.executable = executable
        self.data = data
        self.store = Store(data)

    def lesio(self):
        return lesio(self.executable, self.data, self.options.threads, self.options.device)

    def peer(self, library):
        options = self.options
        return peer(library, self.data, options.threads, sys.executable, options.device, patient=options.check)

    def sgemm(self):
        """Billions of operations a second of a large product, the better of several, on both sides."""
        operations = 2 * 2048**3
        peaks = {}
        makers = {"gemm crate": self.lesio, "torch": lambda: self.peer("torch")}
        if self.options.side != "both":
            makers.pop("torch" if self.options.side == "lesio" else "gemm crate")
        for name, make in makers.items():
            with make() as worker:
                worker.ask(do="prepare", case="sgemm", variant="default")
                wait_for_quiet(self.options.patience)
                blocks = [measured_block(worker, BEST_OF_SECONDS) for _ in range(3)]
            seconds = min(min(self.times(block)) for block in blocks)
            peaks[name] = round(operations / seconds * 1e-9)
        return peaks

    def case(self, case):
        entry = {"name": case.name, "work": case.work, "peer": case.library, "goal": case.goal}
        both = self.options.side == "both"
        with Workers(self, case.library) as workers:
            if both:
                entry["largest_difference"] = self.check(case, workers)
            for side, worker in workers.items():
                if side == "lesio":
                    answer = worker.ask(do="prepare", case=case.name, variant="default")
                    if answer.get("multiply_adds"):
                        entry["operations"] = 2 * answer["multiply_adds"]
                else:
                    entry["peer_variants_ms"], best = self.best_variant(case, worker)
                    entry["peer_variant"] = best
            entry.update(self.time(workers))
        if case.memory:
            entry["peak_bytes"] = self.memory(case, entry.get("peer_variant", "default"))
        return entry

    def check(self, case, workers):
        results = {}
        for side, worker in workers.items():
            name = f"outputs-{side}"
            worker.ask(do="outputs", case=case.name, file=name)
            results[side] = Store(self.data).read(name)
            self.store.path(f"{name}.safetensors").unlink()
        return largest_difference(case, results["lesio"], results["peer"])

    def best_variant(self, case, worker):
        """Times each variant shortly and prepares the fastest."""
        times = {}
        variants = worker.ask(do="variants", case=case.name)["variants"]
        for variant in variants if len(variants) > 1 else []:
            worker.ask(do="prepare", case=case.name, variant=variant)
            wait_for_quiet(self.options.patience)
            blocks = [measured_block(worker, BEST_OF_SECONDS) for _ in range(2)]
            times[variant] = round(min(statistics.median(self.times(block)) for block in blocks) * 1e3, 3)
        best = min(times, key=times.get) if times else variants[0]
        worker.ask(do="prepare", case=case.name, variant=best)
        return times, best

    def time(self, workers):
        """Alternating blocks; a round counts when neither block was disturbed."""
        rounds, dropped = [], []
        deadline = time.monotonic() + 4 * self.options.rounds * self.options.seconds + self.options.patience
        while len(rounds) < self.options.rounds and (time.monotonic() < deadline or not rounds + dropped):
            wait_for_quiet(min(5.0, self.options.patience))
            blocks = {side: measured_block(worker, self.options.seconds) for side, worker in workers.items()}
            (dropped if any(map(self.disturbed, blocks.values())) else rounds).append(blocks)
        return self.summary(rounds or dropped, len(dropped), disturbed=not rounds)

    def times(self, block):
        """What counts of a block: the times of its runs, or the processor time of one."""
        return [block["processor"]] if self.options.processor_time else block["seconds"]

    def disturbed(self, block):
        # Waiting takes no processor time.
        return not self.options.processor_time and disturbed(block)

    def summary(self, rounds, dropped, disturbed):
        """Medians over all runs of all rounds, and the ratio with its range over the rounds."""
        result = {"rounds": len(rounds), "dropped_rounds": dropped, "disturbed": disturbed}
        keys = {"lesio": "lesio_ms", "peer": "torch_ms"}
        medians = {}
        for side in rounds[0]:
            blocks = [block[side] for block in rounds]
            runs = [seconds for block in blocks for seconds in self.times(block)]
            medians[side] = [statistics.median(self.times(block)) for block in blocks]
            result[keys[side]] = round(statistics.median(runs) * 1e3, 3)
            result[f"{side}_runs"] = len(runs)
            result[f"{side}_waited"] = round(statistics.mean(block["waited"] for block in blocks), 4)
        if len(medians) == 2:
            ratios = [ours / theirs for ours, theirs in zip(medians["lesio"], medians["peer"])]
            result["ratio"] = round(result["lesio_ms"] / result["torch_ms"], 3)
            result["ratio_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
        return result

    def memory(self, case, variant):
        """Growth of each side's peak of memory through three runs, in a fresh process."""
        peaks = {}
        with Workers(self, case.library) as workers:
            for side, worker in workers.items():
                chosen = "default" if side == "lesio" else variant
                peaks[side] = worker.ask(do="memory", case=case.name, variant=chosen)["bytes"]
        return peaks


class Workers:
    """The processes of the sides that are to run."""

    def __init__(self, bench, library):
        self.makers = {"lesio": bench.lesio, "peer": lambda: bench.peer(library)}
        if bench.options.side != "both":
            self.makers = {bench.options.side: self.makers[bench.options.side]}
        self.started = {}

    def __enter__(self):
        for side, make in self.makers.items():
            self.started[side] = make()
        return self.started

    def __exit__(self, *exception):
        for worker in self.started.values():
            worker.__exit__(*exception)


def largest_difference(case, ours, theirs):
    """The largest difference of two sets of tensors, relative to each tensor's largest value.

    Parameters after some steps of training are compared by root mean square instead: Adam divides
    by the gradient's size, so where that is close to nothing its sign, and with it the step, is up
    to rounding. Where the peer says how much it loses by rounding itself, that is allowed, times the
    case's `rounding`.
    """
    rounding = {name.removeprefix(ROUNDING): float(theirs[name][0]) for name in theirs if name.startswith(ROUNDING)}
    theirs = {name: value for name, value in theirs.items() if not name.startswith(ROUNDING)}
    if ours.keys() != theirs.keys():
        raise Disagreement(f"tensors {sorted(ours.keys() ^ theirs.keys())} are on one side only")
    largest = (0.0, "", case.tolerance)
    for name, expected in theirs.items():
        found = ours[name].astype(numpy.float64)
        expected = expected.astype(numpy.float64)
        if found.shape != expected.shape:
            raise Disagreement(f"{name} has shape {found.shape}, {case.library} has {expected.shape}")
        if not numpy.isfinite(found).all() or not numpy.isfinite(expected).all():
            raise Disagreement(f"{name} is not finite")
        norm = root_mean_square if name.startswith("trained.") else largest_value
        difference = norm(found - expected) / max(norm(expected), 1e-30)
        allowed = max(case.tolerance, case.rounding * rounding.get(name, 0.0))
        if difference > allowed:
            raise Disagreement(f"{name} differs by {difference:.2e}, at most {allowed:.0e} is allowed")
        largest = max(largest, (difference, name, allowed))
    return {"relative": largest[0], "tensor": largest[1], "allowed": largest[2]}


def root_mean_square(values):
    return float(numpy.sqrt((values**2).mean()))


def largest_value(values):
    return float(numpy.abs(values).max())


def machine(device):
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    flags = next((line.split(":", 1)[1].split() for line in cpuinfo if line.startswith("flags")), [])
    known = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"]
    names = ["torch", "onnxruntime", "numpy", "scipy", "scikit-learn", "nibabel"] if device == "cpu" else ["torch"]
    return {
        **({} if device == "cpu" else {"card": card(device)}),
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "features": [flag for flag in known if flag in flags],
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in names}},
        "load_before": os.getloadavg()[0],
    }


def card(device):
    """Name and driver of a graphics card."""
    number = device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={number}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    name, driver = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip().split(", ")
    return f"{name}, driver {driver}"

"""The two processes that do a case in turn."""

import ctypes
import json
import os
import signal
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

# A case's allocator must keep freed pages: each page that the kernel hands out anew costs a
# microsecond, and a training step frees and takes hundreds of megabytes. With these settings glibc
# takes all memory from one growing heap and never gives it back.
RETAIN = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_ARENA_MAX": "1",
}


class WorkerError(Exception):
    pass


class Worker:
    """A process that reads one request a line and answers each with a line."""

    def __init__(self, command, environment):
        self.name = Path(command[0]).name
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,
        )

    def ask(self, **request):
        # Only one side runs at a time: whatever spins for work between requests is stopped.
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.name} ended with exit code {self.process.wait()} at {request}")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()


def end_with_parent():
    """A stopped worker would otherwise outlive a driver that was killed."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def peer(library, data, threads, python, device, patient=False):
    """A peer's worker; a patient one gives way to other programs and so cannot be timed."""
    module = {"torch": "torch", "onnxruntime": "onnxruntime"}.get(library, "science")
    environment = {
        **RETAIN,
        "OMP_NUM_THREADS": str(threads),
        **({"OMP_WAIT_POLICY": "passive"} if patient else {"OMP_PROC_BIND": "true"}),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    return Worker([python, HERE / "worker.py", module, data, threads, device], environment)


def lesio(executable, data, threads, device):
    return Worker([executable, data, device], {"RAYON_NUM_THREADS": str(threads)})


def processor_ticks():
    """Time of all processors by use, and the part that the hypervisor took away."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields), fields[7]


def processor_seconds(process):
    """Time that all threads of a process have been running."""
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) * 1e-9


def measured_block(worker, seconds):
    """One block of runs: their times, the processor time of one, and what disturbed them."""
    total, stolen = processor_ticks()
    processor = processor_seconds(worker.process)
    block = worker.ask(do="time", seconds=seconds)
    block["processor"] = (processor_seconds(worker.process) - processor) / len(block["seconds"])
    later_total, later_stolen = processor_ticks()
    block["stolen"] = (later_stolen - stolen) / max(later_total - total, 1)
    return block


def disturbed(block):
    return block["waited"] > 0.05 or block["stolen"] > 0.02


def wait_for_quiet(limit):
    """Waits until hardly anything else runs, at most `limit` seconds; returns how long it took."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        busy = 0
        for _ in range(5):
            time.sleep(0.04)
            running = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("procs_running"))
            busy += int(running.split()[1]) > 1  # One is this process, looking.
        if busy <= 1:
            break
    return time.monotonic() - begin

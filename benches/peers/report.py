"""What is written: report.json, and the table of docs/performance.md."""

import json
import os
import time


def place(settings):
    """The document that a table belongs to, and the options of the run that wrote it there."""
    if settings["device"] != "cpu":
        return "devices.md", " --device cuda"
    return "performance.md", " --processor-time" if settings["processor_time"] else ""


def start(options, machine):
    return {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine,
        "settings": {
            "threads": options.threads,
            "rounds": options.rounds,
            "seconds_per_block": options.seconds,
            "processor_time": options.processor_time,
            "device": options.device,
            "order": "alternating blocks, the other process stopped; rounds with a disturbed block dropped",
            "torch": "f32, faster of default and channels-last layout, fused Adam, OMP_PROC_BIND=true, "
            "denormals flushed, glibc keeps all freed pages",
            "science": "faster of one thread and independent parts on a pool of threads",
            "torch_ms": "the peer's time, whichever library it is",
        },
        "sgemm_gflops": {},
        "cases": [],
    }


def kept(options, measured):
    """What an earlier run with the same settings reported of other cases."""
    if not options.keep or not options.out.exists():
        return {"cases": []}
    earlier = json.loads(options.out.read_text())
    now = (options.threads, options.processor_time, options.device)
    if now != tuple(earlier["settings"].get(key) for key in ("threads", "processor_time", "device")):
        raise ValueError(f"{options.out} was measured otherwise: with --keep the settings must be the same")
    others = [entry for entry in earlier["cases"] if entry["name"] not in measured]
    return {"sgemm_gflops": earlier["sgemm_gflops"], "cases": others}


def merge(outcome, earlier, order):
    """Adds the cases of an earlier run, all in the order of the table."""
    entries = outcome["cases"] + earlier["cases"]
    outcome["cases"] = sorted(entries, key=lambda entry: order.index(entry["name"]))
    for name, peak in earlier.get("sgemm_gflops", {}).items():
        outcome["sgemm_gflops"][name] = max(peak, outcome["sgemm_gflops"].get(name, 0))


def with_peak(entry, peaks):
    """Adds the share of the measured peak of matrix products that each side reaches."""
    operations = entry.get("operations")
    if operations and peaks:
        peak = max(peaks.values()) * 1e9
        for side, key in (("lesio", "lesio_ms"), ("torch", "torch_ms")):
            if key in entry:
                entry[f"{side}_of_peak"] = round(operations / (entry[key] * 1e-3) / peak, 3)
    return entry


def finish(outcome):
    outcome["machine"]["load_after"] = os.getloadavg()[0]


def line(entry):
    if "error" in entry:
        return f"{entry['name']:24} FAILED: {entry['error']}"
    times = "  ".join(f"{key[:-3]} {entry[key]:9.3f} ms" for key in ("lesio_ms", "torch_ms") if key in entry)
    ratio = f"  ratio {entry['ratio']:.3f} (goal {entry['goal']:.2f})" if "ratio" in entry else ""
    return f"{entry['name']:24} {times}{ratio}{'  DISTURBED' if entry['disturbed'] else ''}"


def table(outcome):
    """The cases in Markdown."""
    # Where no product of matrices was timed, none is a peak.
    peaks = any("lesio_of_peak" in entry for entry in outcome["cases"])
    names = ["case", "lesio, ms", "peer, ms", "ratio", "range", "goal", "peer", *(["of sgemm peak: lesio, peer"] if peaks else []), "difference"]
    left = ("case", "peer")
    rows = [cells(names), "|" + "|".join("---" if name in left else "--:" for name in names) + "|"]
    for entry in outcome["cases"]:
        if "ratio" not in entry:
            continue
        low, high = entry["ratio_range"]
        peak = f"{entry['lesio_of_peak']:.0%}, {entry['torch_of_peak']:.0%}" if "lesio_of_peak" in entry else ""
        row = [
            f"`{entry['name']}`" + (" (disturbed)" if entry["disturbed"] else ""),
            *(f"{entry[key]:.1f}" for key in ("lesio_ms", "torch_ms")),
            f"{entry['ratio']:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{entry['goal']:.2f}",
            entry["peer"] + (f", {entry['peer_variant']}" if entry["peer_variants_ms"] else ""),
            *([peak] if peaks else []),
            f"{entry['largest_difference']['relative']:.0e}",
        ]
        rows.append(cells(row))
    return "\n".join(rows)


def cells(row):
    return f"| {' | '.join(row)} |"


def memory(outcome):
    lines = []
    for entry in outcome["cases"]:
        peaks = entry.get("peak_bytes", {})
        if len(peaks) == 2:
            ours, theirs = (peaks[side] / 2**20 for side in ("lesio", "peer"))
            lines.append(f"| `{entry['name']}` | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")
    if lines:
        lines[:0] = ["| case | lesio, MiB | PyTorch, MiB | ratio |", "|---|--:|--:|--:|"]
    return "\n".join(lines)


def write_docs(folder, outcome):
    """Puts the tables between the two markers of the document."""
    document, options = place(outcome["settings"])
    path = folder / document
    begin, end = (f"<!-- written by benches/peers/run{options}: {mark} -->" for mark in ("begin", "end"))
    text = [begin, "", conditions(outcome), "", table(outcome), ""]
    remembered = memory(outcome)
    if remembered and not outcome["settings"]["processor_time"]:
        text += ["Growth of the peak of memory from before the case was prepared through three steps:", "", remembered, ""]
    document = path.read_text()
    if begin not in document or end not in document:
        raise ValueError(f"{path} has lost the markers between which the table belongs")
    head, tail = document.split(begin)[0], document.split(end)[1]
    path.write_text(head + "\n".join(text + [end]) + tail)


def conditions(outcome):
    """When, on what and beside what a table was measured."""
    machine, settings = outcome["machine"], outcome["settings"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    processor = f"{machine['processor']}, {machine['processors']} processors"
    if "card" in machine:
        return f"{outcome['date']}; {machine['card']}; {processor}; {versions}."
    peaks = ", ".join(f"{name} {value} GFLOP/s" for name, value in outcome["sgemm_gflops"].items())
    threads = "one thread" if settings["threads"] == 1 else f"{settings['threads']} threads"
    return (
        f"{outcome['date']}; {processor} ({', '.join(machine['features'])}), {threads} a side; load average "
        f"{machine['load_before']:.1f} before and {machine['load_after']:.1f} after; {versions}. "
        f"Product of two 2048x2048 matrices: {peaks}; the larger is the peak below."
    )

#!/usr/bin/env python3
"""Makes profiles/README.md from the recorded results: every figure in it is in a JSON file beside it.

    profiles/table.py [--check]    with --check it only tells whether the page is what the files give"""
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
NO_DEVICE = "n/a (no device)"
YARDSTICKS = ("grid-barrier", "cudnn-lstm-fp16", "cudnn-lstm-bf16")
HEAD = """# Recorded results

Made by `profiles/table.py` from the JSON files in the folders beside it; do not edit. `profiles/record.sh FOLDER` records
a processor, `tests/gpu/run` a GPU, `mmrec-train --study` a study, `mmrec-compare --export-json FOLDER/compare.json` models side by
side. What the columns mean: [docs/bench.md](../docs/bench.md); how to read a profile:
[docs/profiles.md](../docs/profiles.md).
"""


def load(folder):
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def per_step(ns, steps):
    return f"{ns / steps / 1e3:.2f}" if ns else "n/a"


def pass_of(op, which):
    """A pass of an op or of its yardstick by name; an empty one when it is not there."""
    return next((row for row in op["passes"] if row["name"] == which), {}) if op else {}


def median(row):
    """ns; None when it was not measured."""
    return row["stats"]["median_ns"] if row.get("stats") else None


def yardstick_cells(op, which, steps):
    """The yardstick's time a step, and the op's time over it with interval and verdict."""
    against = (op or {}).get("against")
    if not against:
        return ["n/a", "n/a"]
    if against["missing"]:
        return ["n/a", f"n/a ({against['missing']})"]
    row = pass_of(against, which)
    c = row.get("comparison") or {"verdict": None}
    ratio = f"{c['ratio']:.2f} ({c['ratio_ci95_low']:.2f} to {c['ratio_ci95_high']:.2f}), {c['verdict']}" if c["verdict"] else "n/a"
    return [per_step(median(row), steps), ratio]


def model_rows(documents):
    for name in ("small", "small-cold", "medium"):
        for case in documents.get(name, {"cases": []})["cases"]:
            for side in case["sides"]:
                for row in side["measures"]:
                    if not row["stats"]:
                        continue
                    device = row.get("device") or {}
                    host = device.get("host_stats") or {}
                    cells = [row["stats"]["median_ns"], host.get("median_ns")]
                    yield [f"{name}, {side['name']}, {row['name']}"] + [f"{c / 1e6:.3f}" if c else "n/a" for c in cells] + [
                        f"{row['tokens_per_s']:.0f}" if row["tokens_per_s"] else "n/a", str(device.get("launches") or "n/a")]


def recurrence_rows(documents):
    """Two rows for each size, from the runs that tests/gpu/run records of it."""
    pattern = re.compile(r"recurrence-(d(\d+)-b(\d+)-t(\d+))-")
    sizes = {tuple(int(n) for n in m.groups()[1:]): m.group(1) for m in map(pattern.match, documents) if m}
    for (width, batch, steps), shape in sorted(sizes.items()):
        run = {kind: next(iter(documents.get(f"recurrence-{shape}-{kind}", {"ops": []})["ops"]), None)
               for kind in ("float",) + YARDSTICKS}
        for which in ("forward", "backward"):
            row = [f"{width}, {batch}, {steps} {which}", per_step(median(pass_of(run["float"], which)), steps),
                   per_step(median(pass_of(run[YARDSTICKS[0]], which)), steps)]
            for kind in YARDSTICKS:
                row += yardstick_cells(run[kind], which, steps)
            yield row


def device_section(folder, documents):
    first = next(d for d in documents.values() if d.get("device"))
    models, sweep = list(model_rows(documents)), list(recurrence_rows(documents))
    text = f"\n## {first['device']['name']} ({folder.name})\n"
    if models:
        text += "\n" + table(["measure", "gpu [ms]", "host [ms]", "tokens/s", "launches"], models)
    if sweep:
        text += ("\nThe recurrence in us a step, with float and with bf16 weights, and what the latter was sampled in alternation "
                 "with. A ratio is of the\nrecurrence's time over the other's, with its 95 % interval: below 1 the recurrence "
                 "is faster. What is in each\ntime: [docs/profiles.md](../docs/profiles.md).\n\n")
        text += table(["D, B, T", "float", "bf16", "grid barrier", "ratio", "cuDNN LSTM fp16", "ratio", "cuDNN LSTM bf16",
                       "ratio"], sweep)
    return text


def share_rows(documents):
    """The passes of ops whose ceiling was measured beside them."""
    for document in documents.values():
        for op in document.get("ops", []):
            for row in op["passes"]:
                if not row.get("ceiling_windows"):
                    continue
                ends = [row["ceiling_ratio_ci95_low"], row["ceiling_ratio_ci95_high"]]
                interval = "" if None in ends else " ({:.2f} to {:.2f})".format(*ends)
                yield [f"{op['op']} {op['size']}, {row['name']}", f"{median(row) / 1e6:.2f}",
                       f"{row['ceiling_ratio']:.2f}{interval} of {row['ceiling']}", str(row["ceiling_windows"])]


def host_section(folder, documents):
    first = next(d for d in documents.values() if "environment" in d)
    names, shares = ", ".join(documents), list(share_rows(documents))
    text = (f"\n## {first['environment']['cpu']}, {first['environment']['threads']} threads ({folder.name})\n\n"
            f"Quoted in [docs/cpu-speed.md](../docs/cpu-speed.md). Recorded: {names}.\n")
    if shares:
        text += "\n" + table(["op", "time [ms]", "of the ceiling beside it", "windows"], shares)
    return text


def study_section(folder, study):
    """The verdicts, as the study has worded them; its own page has the tables."""
    verdicts = "\n\n".join(verdict["text"] for verdict in study["verdicts"])
    return (f"\n## Study {study['study']} on {study['data']['name']} ([{folder.name}]({folder.name}/report.md))\n\n"
            f"{study['steps']} steps, {len(study['seeds'])} seeds. {verdicts}\n")


def estimate(figure, digits):
    if not figure:
        return "n/a"
    ends = [figure["ci95_low"], figure["ci95_high"]]
    interval = "" if None in ends else " ({:.{d}f} to {:.{d}f})".format(*ends, d=digits)
    return f"{figure['mean']:.{digits}f}{interval}"


def milliseconds(part):
    return f"{part['stats']['median_ns'] / 1e6:.3f}" if part["stats"] else "n/a"


def ratio_cell(part):
    ratio = part["ratio_to_first"]
    return f"{ratio['ratio']:.3f} ({ratio['ci95_low']:.3f} to {ratio['ci95_high']:.3f}), {ratio['verdict']}" if ratio else "1"


def command_of(document):
    """The options of the command line, those that name its outputs aside."""
    given = {flag: value["values"] for flag, value in document["options"].items()
             if value["source"] == "flag" and not flag.startswith(("export", "plot", "quiet"))}
    return "mmrec-compare " + " ".join(f"--{flag} {' '.join(values)}" for flag, values in given.items())


def comparison_section(folder, document):
    rows = []
    for row in document["rows"]:
        quality, parts = row["quality"] or {}, row["parts"]
        rows.append([row["label"], str(row["parameters"]), str(row["dead_parameters"])]
                    + [milliseconds(parts[name]) for name in ("forward", "backward", "optimizer", "step")]
                    + [ratio_cell(parts["step"]), f"{row['memory']['planned_all_bytes'] / 1e6:.2f}" if row["memory"] else "n/a",
                       estimate(quality.get("held_out_loss"), 4), estimate(quality.get("accuracy"), 4)])
    return (f"\n## Comparison [{folder.name}]({folder.name}/report.md)\n\n`{command_of(document)}`, on "
            f"{document['environment']['cpu']}, {document['environment']['isa']}, {document['environment']['threads']} threads.\n\n"
            + table(["model", "parameters", "dead", "forward [ms]", "backward [ms]", "optimizer [ms]", "step [ms]",
                     "step / first", "memory [MB]", "held-out loss", "accuracy"], rows))


def page():
    devices, hosts, studies, comparisons = "", "", "", ""
    for folder in sorted(p for p in HERE.iterdir() if p.is_dir()):
        documents = load(folder)
        documents = {n: d for n, d in documents.items() if not (d.get("device") or {}).get("emulated")}
        if documents.get("results", {}).get("schema") == "mmrec.study":
            studies += study_section(folder, documents["results"])
            continue
        if documents.get("compare", {}).get("schema") == "mmrec.compare":
            comparisons += comparison_section(folder, documents["compare"])
            continue
        if any(d.get("device") for d in documents.values()):
            devices += device_section(folder, documents)
        elif documents:
            hosts += host_section(folder, documents)
    if not devices:
        devices = "\n## GPU\n\n" + table(
            ["", "gpu"], [[what, NO_DEVICE] for what in ("small", "medium", "recurrence, D 512 to 2048, B 1 to 64",
                                                         "the same by one grid barrier a step",
                                                         "cuDNN's LSTM of the same sizes, fp16 and bf16")])
    return HEAD + devices + hosts + comparisons + studies


if __name__ == "__main__":
    target = HERE / "README.md"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if target.exists() and target.read_text() == page() else f"{target} is not what profiles/table.py makes")
    target.write_text(page())

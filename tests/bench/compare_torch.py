#!/usr/bin/env python3
"""Graft against PyTorch on this machine: times and memory, in turn (A B A B ...), same threads, same batch, same
weights file, PyTorch in both memory formats. Prints each scenario with its ratio against the better format, and beside
it the bar that Graft has to pass and the one it aims at; exit status 1 when a bar is missed.

    python3 tests/bench/compare_torch.py [--case WORD]... [--data PHOTOS] [--threads 2] [--quick] [--json FILE]

Scenarios (--case takes any part of their names):

    step/...        a training step on random photos, uncached, batch 32
    inference/...   a forward pass on random photos
    train/...       whole processes: resnet18 on the photos of --data (train/ and val/, one folder a class), 25 epochs,
                    no augmentation, validation in every epoch. PyTorch reads with PIL in a DataLoader, with as many
                    workers as are faster (0 or 2). Its epochs are all alike, so --torch-epochs of them are measured and
                    the rest is added at their median; --full runs all. "cached" is PyTorch with the frozen part's
                    output kept by hand.
    memory/...      the most that a fresh process held; "stash bf16" is Graft keeping activations for the backward
                    pass as bfloat16
    start           from the start of the process to its first training step: imports, weights from a file, plan

PyTorch (torch_peer.py beside this file) runs eagerly, as a careful user would have it. It needs torch, torchvision,
pillow, and for one scenario efficientnet_lite_pytorch. Of OpenMP's two ways to wait, spinning or asleep, it gets the
faster one ("waits"; OMP_WAIT_POLICY, where it is set, decides), but sleeps wherever other programs are at work: threads
that spin while others have the processors make PyTorch ten times slower than it is, and Graft look ten times faster.
Such programs still make every ratio doubtful: how busy they keep the machine is measured before each scenario and
printed ("others"), and so is the ratio of the fastest runs, which suffers less than that of the medians.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PEER = HERE / "torch_peer.py"
LAYOUTS = ("nchw", "channels_last")
EPOCHS = 25
MIB = 2**20
QUIET = 0.05  # the share of the processors that others may use without a ratio being doubtful

# name: (model, case, batch, must, aim)
STEPS = {
    "step/resnet18 full": ("resnet18", "full", 32, 1.5, 2.3),
    "step/resnet50 full": ("resnet50", "full", 32, 1.2, 1.6),
    "step/mobilenet_v2 full": ("mobilenet_v2", "full", 32, 1.5, 2.3),
    "step/vgg16 full": ("vgg16", "full", 32, 2, 3.3),
    "step/resnet18 layer4+fc": ("resnet18", "last", 32, 1.6, 2.4),
    "inference/resnet18 b32": ("resnet18", "inference", 32, 1.6, 2.3),
    "inference/resnet18 b1": ("resnet18", "inference", 1, 1.4, 2),
    "inference/mobilenet_v2 b32": ("mobilenet_v2", "inference", 32, 1.2, 2),
    "inference/efficientnet_lite0 b32": ("efficientnet_lite0", "inference", 32, 1.2, 2),
}
# name: (what Graft trains, what PyTorch does, must, aim)
TRAININGS = {
    "train/head": ("head", "head", 25, 50),
    "train/head, PyTorch cached": ("head", "cached", 1.5, 2.3),
    "train/layer4+fc": ("last", "last", 4, 6),
}
# name: (what Graft does, must, aim)
MEMORY = {
    "memory/head": ("head", 4, 6),
    "memory/step resnet18 full": ("full", 2.3, 2.7),
    "memory/step resnet18 full, stash bf16": ("stash", 2.3, 4),  # PyTorch in float32
}
START = ("start", 10, 30)

# Answers lines of JSON as torch_peer.py serve does: milliseconds of the median run of a turn.
GRAFT_SERVER = """
local core, models = require "graft.core", require "graft.models"
local threads = ...
core.threads(tonumber(threads))
local bench, net
for line in io.lines() do
   local job = core.parse_json(line)
   if job.model then
      if bench then
         bench:close()
         net:close()
      end
      net = models.build(models.spec(job.model), 1000, 224)
      if job.case == "last" then
         local stages = net:stages()
         net:freeze { "*" }
         net:unfreeze { stages[#stages], "head" }
      end
      bench = core.bench(net, { batch = job.batch, training = job.case ~= "inference" })
   end
   local times, start = {}, core.clock()
   repeat
      local began = core.clock()
      bench:run()
      times[#times + 1] = 1000 * (core.clock() - began)
   until core.clock() - start >= job.seconds
   io.stdout:write(("%.6f\\n"):format((require("graft.bench").spread(times))))
   io.stdout:flush()
end
"""

RECIPE = """
local graft = require "graft"
local opt = graft.options{ data = { type = "folder" }, weights = { type = "file" } }
local d = graft.data.folder(opt.data)
local net = graft.load(opt.weights):replace_head(d.classes):freeze("body")
if %s then net:unfreeze("layer4") end
graft.fit(net, d, { epochs = %d, batch_size = 32, optimizer = graft.sgd{ lr = 0.001, momentum = 0.9 } })
"""


def note(text):
    print(text, file=sys.stderr, flush=True)


# ---- processes ----

class Server:
    """A process that runs one case at a time."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)

    def ask(self, job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"this process ended early: {' '.join(self.process.args)[:100]}")
        return float(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def run_process(command, environment=None):
    """Runs it to its end. Returns its output, seconds, and the most memory that it held, in bytes."""
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"status {process.returncode} from: {' '.join(command)}")
        out.seek(0)
        return out.read(), seconds, usage.ru_maxrss * 1024


def seconds_to_first_output(command, environment=None):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    first = process.stdout.read(1)
    seconds = time.perf_counter() - start
    process.communicate()
    if process.returncode or not first:
        sys.exit(f"status {process.returncode} from: {' '.join(command)}")
    return seconds


def busy(seconds=0.5):
    """The share of all processors that other programs use, while nothing of ours runs."""
    def times():
        values = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(values), values[3] + values[4]  # all, idle or waiting for files
    before = times()
    time.sleep(seconds)
    after = times()
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1)


class Bench:
    def __init__(self, a, folder):
        self.a, self.folder = a, pathlib.Path(folder)
        self.weights = str(self.folder / "resnet18.pth")
        self.declare, self.environment, self.spinning_is_faster = [], dict(os.environ), True
        self.asleep = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}

    def peer(self, *words):
        return [self.a.python, str(PEER), *map(str, words), "--threads", str(self.a.threads), *self.declare]

    def graft(self, *words):
        return [self.a.graft, *map(str, words)]

    def prepare(self):
        """Can torchvision be imported as it is? Then one file of weights for both."""
        found = subprocess.run([self.a.python, "-c", "import torchvision"], capture_output=True, text=True)
        if found.returncode and "does not exist" in found.stderr:
            self.declare = ["--declare-operators"]
        elif found.returncode:
            sys.exit(f"{self.a.python} cannot import torchvision; --python names another one\n{found.stderr[-300:]}")
        run_process(self.peer("weights", "--weights", self.weights))
        if "OMP_WAIT_POLICY" not in os.environ:
            self.compare_waiting()

    def compare_waiting(self):
        """How PyTorch's threads wait for one another: as OpenMP does by itself (they spin), or asleep."""
        spinning, sleeping = (Server(self.peer("serve"), environment) for environment in (None, self.asleep))
        for server in (spinning, sleeping):
            server.ask({"model": "resnet18", "case": "inference", "batch": 4, "layout": "channels_last",
                        "seconds": 0.3})
        spin, sleep = (statistics.median(times) for times in alternate(
            5, lambda: spinning.ask({"seconds": 0.25}), lambda: sleeping.ask({"seconds": 0.25})))
        spinning.stop()
        sleeping.stop()
        self.spinning_is_faster = spin < sleep
        note(f"four photos take PyTorch {spin:.0f} ms with threads that spin, {sleep:.0f} ms with threads that sleep")

    def choose_waiting(self, others):
        """For the next scenario. `others`: how busy other programs are. Returns what to call it."""
        if "OMP_WAIT_POLICY" in os.environ:
            return os.environ["OMP_WAIT_POLICY"].lower()
        spin = self.spinning_is_faster and others <= QUIET
        self.environment = dict(os.environ) if spin else self.asleep
        return "spin" if spin else "sleep"


# ---- results ----

def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "all": values}


def result(name, unit, bars, ratios, sides, remark=""):
    """`ratios` (see below): for each format of PyTorch; the better PyTorch is the one of the smallest."""
    return {"scenario": name, "unit": unit, "must": bars[0], "aim": bars[1], "remark": remark,
            "ratio": min(ratio for ratio, _ in ratios), "ratio_of_fastest": min(fastest for _, fastest in ratios),
            **{side: spread(values) for side, values in sides.items()}}


def ratio_of(theirs, ours):
    """Of the medians, and of the smallest."""
    return statistics.median(theirs) / statistics.median(ours), min(theirs) / min(ours)


def alternate(runs, graft, torch):
    """Graft, PyTorch, Graft, PyTorch ... Returns both lists."""
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(graft())
        time.sleep(0.05)  # until threads that wait have gone to sleep
        theirs.append(torch())
        time.sleep(0.05)
    return ours, theirs


# ---- scenarios ----

def measure_step(bench, name):
    """One format after the other, so that only one network of PyTorch is in memory at a time."""
    model, case, batch, *bars = STEPS[name]
    a, ratios, sides = bench.a, [], {"graft": []}
    graft = Server(bench.graft("-e", GRAFT_SERVER, a.threads))
    torch = Server(bench.peer("serve"), bench.environment)
    turn = {"seconds": 0.25}
    graft.ask({"model": model, "case": case, "batch": batch, "seconds": 0.3})
    for layout in LAYOUTS:
        torch.ask({"model": model, "case": case, "batch": batch, "layout": layout, "seconds": 0.3})
        torch.ask(turn)  # once more: the first run made its buffers
        graft.ask(turn)
        ours, theirs = alternate(a.runs, lambda: graft.ask(turn), lambda: torch.ask(turn))
        sides["graft"] += ours
        sides[layout] = theirs
        ratios.append(ratio_of(theirs, ours))
    graft.stop()
    torch.stop()
    return result(name, "ms", bars, ratios, sides)


def graft_training(bench, kind):
    recipe = bench.folder / f"{kind}.lua"
    recipe.write_text(RECIPE % (str(kind == "last").lower(), EPOCHS))
    out = bench.folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    return run_process(bench.graft("run", recipe, "--data", bench.a.data, "--weights", bench.weights, "--out", out,
                                   "--threads", bench.a.threads, "--quiet"))


def torch_training(bench, kind, layout, workers, epochs):
    """Seconds of the whole process with all epochs, measured or added."""
    text, seconds, memory = run_process(bench.peer("fit", kind, "--data", bench.a.data, "--weights", bench.weights,
                                                   "--layout", layout, "--workers", workers, "--epochs", epochs),
                                        bench.environment)
    each = json.loads(text)["epochs"]
    usual = statistics.median(each[1:] or each)  # the first one warms up
    return seconds + (EPOCHS - epochs) * usual, memory


def measure_training(bench, name):
    a = bench.a
    kind, theirs, *bars = TRAININGS[name]
    epochs = EPOCHS if a.full or theirs == "cached" else a.torch_epochs
    short = 1 if a.quick else 2
    trial = {workers: torch_training(bench, theirs, "nchw", workers, short)[0] for workers in (0, 2)}
    workers = min(trial, key=trial.get)
    ratios, sides = [], {"graft": []}
    for layout in LAYOUTS:
        ours, other = alternate(a.repeats, lambda: graft_training(bench, kind)[1],
                                lambda: torch_training(bench, theirs, layout, workers, epochs)[0])
        sides["graft"] += ours
        sides[layout] = other
        ratios.append(ratio_of(other, ours))
    remark = f"DataLoader with {workers} workers"
    if epochs < EPOCHS:
        remark += f"; PyTorch's {EPOCHS} epochs extrapolated from {epochs}"
    return result(name, "s", bars, ratios, sides, remark)


def graft_memory(bench, kind):
    if kind == "head":
        return graft_training(bench, kind)[2] / MIB
    stash = ("--stash", "bf16") if kind == "stash" else ()
    text, _, _ = run_process(bench.graft("bench", "--case", "full", "--runs", 3, "--threads", bench.a.threads, "--json",
                                         "--quiet", *stash))
    return json.loads(text)[0]["process_memory"] / MIB


def torch_memory(bench, kind, layout):
    if kind == "head":
        return torch_training(bench, "head", layout, 0, 1)[1] / MIB
    server = Server(bench.peer("serve"), bench.environment)
    for job in ({"model": "resnet18", "case": "full", "batch": 32, "layout": layout, "seconds": 0}, {"seconds": 0},
                {"seconds": 0}):
        server.ask(job)
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    server.stop()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MIB


def measure_memory(bench, name):
    kind, *bars = MEMORY[name]
    ratios, sides = [], {"graft": []}
    for layout in LAYOUTS:
        ours, theirs = alternate(1 if bench.a.quick else 3, lambda: graft_memory(bench, kind),
                                 lambda: torch_memory(bench, kind, layout))
        sides["graft"] += ours
        sides[layout] = theirs
        ratios.append(ratio_of(theirs, ours))
    return result(name, "MiB", bars, ratios, sides, "PyTorch without workers" if kind == "head" else "")


def measure_start(bench, name):
    a = bench.a
    job = json.dumps({"case": "startup", "file": bench.weights, "batch": 32, "threads": a.threads})
    graft = bench.graft("-e", 'require("graft.bench").child(...)', job)
    torch = bench.peer("start", "--weights", bench.weights)
    seconds_to_first_output(graft)
    seconds_to_first_output(torch, bench.environment)
    ours, theirs = alternate(a.runs, lambda: 1000 * seconds_to_first_output(graft),
                             lambda: 1000 * seconds_to_first_output(torch, bench.environment))
    return result(name, "ms", START[1:], [ratio_of(theirs, ours)],
                  {"graft": ours, "nchw": theirs})


SCENARIOS = [*((name, measure_step) for name in STEPS), *((name, measure_training) for name in TRAININGS),
             *((name, measure_memory) for name in MEMORY), (START[0], measure_start)]


# ---- what is printed ----

def cell(side, unit):
    if side is None:
        return "-"
    digits = 1 if side["median"] < 100 else 0
    median, low, high = (f"{side[key]:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} {unit} ({low}-{high})" if len(side["all"]) > 1 else f"{median} {unit}"


def verdict(r):
    """Of the medians; with a question mark on times that were measured while other programs were at work."""
    return judge(r) + ("?" if doubtful(r) else "")


def doubtful(r):
    return r["others_busy"] > QUIET and r["unit"] != "MiB"


def judge(r):
    if r["ratio"] < r["must"]:
        return "MISSED"
    return "aim" if r["aim"] and r["ratio"] >= r["aim"] else "passed"


def bar(r):
    return f"{r['must']:g}x / {r['aim']:g}x" if r["aim"] else f"{r['must']:g}x"


def table(results):
    rows = [("scenario", "Graft", "PyTorch NCHW", "PyTorch channels last", "ratio", "fastest", "must / aim", "others",
             "waits", "")]
    for r in results:
        cells = (cell(r.get(side), r["unit"]) for side in ("graft", *LAYOUTS))
        rows.append((r["scenario"], *cells, f"{r['ratio']:.2f}x", f"{r['ratio_of_fastest']:.2f}x", bar(r),
                     f"{100 * r['others_busy']:.0f} %", r["torch_waits"], verdict(r)))
    widths = [max(len(row[i]) for row in rows) for i in range(10)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 9)), row[9]]
        lines.append("  ".join(cells).rstrip())
    lines += [f"{r['scenario']}: {r['remark']}" for r in results if r["remark"]]
    return "\n".join(lines)


def machine(a):
    version = subprocess.run([a.python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": cpu[0] if cpu else "", "processors": os.cpu_count(), "threads": a.threads,
            "torch": version.stdout.strip(), "load": os.getloadavg()}


def save(a, about, results):
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", metavar="WORD", help="scenarios with this in their name; repeatable")
    parser.add_argument("--data", help="folder with train/ and val/; without it train/... and memory/head are left out")
    parser.add_argument("--graft", default="build/graft", help="the program (default build/graft)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has PyTorch (default: this one)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, help="turns of each side in steps, inference and start (default 9; quick 5)")
    parser.add_argument("--repeats", type=int, help="whole trainings of each side (default 5; quick 1)")
    parser.add_argument("--torch-epochs", type=int, default=3, help="epochs that PyTorch really trains (default 3)")
    parser.add_argument("--full", action="store_true", help=f"PyTorch trains all {EPOCHS} epochs")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", metavar="FILE", help="writes every number")
    a = parser.parse_args()
    a.runs = a.runs or (5 if a.quick else 9)
    a.repeats = a.repeats or (1 if a.quick else 5)
    a.torch_epochs = max(1, min(a.torch_epochs, EPOCHS))
    a.graft = str(pathlib.Path(a.graft).resolve())
    return a


def main():
    a = read_arguments()
    wanted = [(name, measure) for name, measure in SCENARIOS if not a.case or any(word in name for word in a.case)]
    if not a.data:
        wanted = [(name, measure) for name, measure in wanted if not name.startswith(("train/", "memory/head"))]
    if not wanted:
        sys.exit("no such scenario (or it needs --data); there is: " + ", ".join(name for name, _ in SCENARIOS))
    about, results = machine(a), []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(a, folder)
        bench.prepare()
        for name, measure in wanted:
            others = busy()
            waiting = bench.choose_waiting(others)
            r = {**measure(bench, name), "others_busy": others, "torch_waits": waiting}
            results.append(r)
            note(f"{name}: Graft {cell(r['graft'], r['unit'])}, ratio {r['ratio']:.2f}, others use {100 * others:.0f} %")
            save(a, about, results)
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{about['cpu']}, {a.threads} threads, PyTorch {about['torch']}; medians (smallest-largest); load {load}")
    print(table(results))
    if any(doubtful(r) for r in results):
        print("Other programs were at work (others: their share of the processors): times are not to be quoted.")
    return 1 if any(judge(r) == "MISSED" for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())

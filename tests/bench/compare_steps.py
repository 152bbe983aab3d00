#!/usr/bin/env python3
"""Milliseconds of a training step: Graft and PyTorch, step by step in turn (A B A B ...), on the same random photos'
shape, after warm-up. Prints medians, the range and the ratio; exit status 1 when Graft takes more than --limit times
PyTorch's time. PyTorch runs as a careful user would run it: frozen layers in inference mode and without gradients.

    python3 tests/bench/compare_steps.py [--model resnet18] [--batch 16] [--threads 2] [--steps 5] [--limit 2]
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "fixtures"))
from make_models import vision  # noqa: E402

LAST = {"mobilenet_v2": ("features.18", "classifier"), "vgg16": ("features.24", "features.26", "features.28", "classifier.6")}


class Graft:
    def __init__(self, program, a):
        script = pathlib.Path(__file__).with_name("steps.lua")
        chunk = (f"assert(loadfile '{script}') {{ model = '{a.model}', batch = {a.batch}, threads = {a.threads}, "
                 f"size = {a.size} }}")
        self.process = subprocess.Popen([program, "-e", chunk], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("graft ended early")
        return float(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class PyTorch:
    def __init__(self, a, channels_last):
        self.a, self.cases = a, {}
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.x = torch.randn(a.batch, 3, a.size, a.size).contiguous(memory_format=self.layout)
        self.y = torch.arange(a.batch) * 37 % 1000

    def prepare(self, case):
        net = getattr(vision, self.a.model)().to(memory_format=self.layout).train()
        last = LAST.get(self.a.model, ("layer4", "fc"))
        for name, parameter in net.named_parameters():
            parameter.requires_grad = case == "full" or name.startswith(last)
        for module in net.modules():
            own = list(module.parameters())
            if own and not any(p.requires_grad for p in own):
                module.eval()
        return net, torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 1e-3, momentum=0.9)

    def step(self, case):
        if case not in self.cases:
            self.cases[case] = self.prepare(case)
        net, optimizer = self.cases[case]
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(self.x), self.y).backward()
        optimizer.step()
        return 1000 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--graft", default="build/graft")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--limit", type=float, default=2)
    parser.add_argument("--channels-last", action="store_true", help="PyTorch's other layout")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    peers = {"Graft": Graft(a.graft, a), "PyTorch": PyTorch(a, a.channels_last)}
    slow = False
    for case in ("full", "last"):
        times = {name: [] for name in peers}
        for step in range(2 + a.steps):
            for name, peer in peers.items():
                taken = peer.step(case)
                if step >= 2:  # the first two warm up
                    times[name].append(taken)
        medians = {name: statistics.median(values) for name, values in times.items()}
        ratio = medians["Graft"] / medians["PyTorch"]
        slow = slow or ratio > a.limit
        print(f"{a.model} batch {a.batch}, {a.threads} threads, {case:4}  " + "  ".join(
            f"{name} {medians[name]:.0f} ms ({min(times[name]):.0f} to {max(times[name]):.0f})" for name in peers)
            + f"  ratio {ratio:.2f}", flush=True)
    peers["Graft"].stop()
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

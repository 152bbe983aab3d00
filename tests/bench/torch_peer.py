#!/usr/bin/env python3
"""PyTorch's side of compare_torch.py, written as a careful user of PyTorch would: eager mode, oneDNN, the fused SGD,
frozen layers in eval mode and under no_grad, inference_mode where nothing is trained. Each command is a process.

    torch_peer.py serve              steps and forward passes on random photos, for lines of JSON on stdin
    torch_peer.py fit KIND           trains on a folder of photos: head, cached (its features kept), last (layer4 and fc)
    torch_peer.py start              says when its first training step would begin
    torch_peer.py weights            writes resnet18's state with random weights and statistics that fit them
"""

import argparse
import json
import statistics
import sys
import time


def declare_operators():
    """torchvision without its compiled part wants these operators to be declared."""
    import torch
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                     "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):
        library.define(operator)
    return library


def architecture(name):
    if name.startswith("efficientnet_lite"):
        from efficientnet_lite_pytorch import EfficientNet
        return EfficientNet.from_name(name.replace("_", "-"))
    import torchvision.models
    return getattr(torchvision.models, name)()


def layout_of(name):
    import torch
    return torch.channels_last if name == "channels_last" else torch.contiguous_format


def optimizer_of(parameters, lr):
    import torch
    return torch.optim.SGD(parameters, lr, momentum=0.9, fused=True)


def split_resnet(net, last):
    """Its frozen part in eval mode, and the part that is trained."""
    from torch import nn
    stages = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3]
    ends = [net.avgpool, nn.Flatten()]
    body = nn.Sequential(*(stages if last else stages + [net.layer4] + ends)).eval().requires_grad_(False)
    head = nn.Sequential(net.layer4, *ends, net.fc) if last else nn.Sequential(net.fc)
    return body, head.train()


# ---- serve ----

class Case:
    """One model and what is done with it: "inference", "full", or "last" (resnets only)."""

    def __init__(self, job):
        import torch
        self.torch, self.case = torch, job["case"]
        layout = layout_of(job["layout"])
        self.x = torch.randn(job["batch"], 3, 224, 224).contiguous(memory_format=layout)
        self.y = torch.arange(job["batch"]) * 37 % 1000
        self.net = architecture(job["model"]).to(memory_format=layout)
        self.body = None
        if self.case == "inference":
            self.net.eval()
        elif self.case == "last":
            self.body, self.net = split_resnet(self.net, True)
        else:
            self.net.train()
        self.optimizer = optimizer_of(self.net.parameters(), 1e-5)

    def run(self):
        torch = self.torch
        if self.case == "inference":
            with torch.inference_mode():
                self.net(self.x)
            return
        x = self.x
        if self.body is not None:
            with torch.no_grad():
                x = self.body(x)
        self.optimizer.zero_grad()
        torch.nn.functional.cross_entropy(self.net(x), self.y).backward()
        self.optimizer.step()


def turn(run, seconds):
    """Runs for so many seconds, at least once; the median of milliseconds."""
    times, start = [], time.perf_counter()
    while not times or time.perf_counter() - start < seconds:
        began = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def serve(arguments):
    import gc
    case = None
    for line in sys.stdin:
        job = json.loads(line)
        if "model" in job:
            case = None
            gc.collect()
            case = Case(job)
        print(turn(case.run, job["seconds"]), flush=True)


# ---- fit ----

def loaders(a):
    import torch
    from torchvision import datasets, transforms
    prepare = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
                                  transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    folders = {part: datasets.ImageFolder(f"{a.data}/{part}", prepare) for part in ("train", "val")}
    return [torch.utils.data.DataLoader(folder, a.batch, shuffle=part == "train", num_workers=a.workers,
                                        persistent_workers=a.workers > 0) for part, folder in folders.items()]


def load_network(a, classes):
    import torch
    net = architecture("resnet18")
    net.load_state_dict(torch.load(a.weights, weights_only=True))
    net.fc = torch.nn.Linear(net.fc.in_features, classes)
    return net.to(memory_format=layout_of(a.layout))


def cached(loader, body, layout):
    """The same loader over the body's output, computed once."""
    import torch
    with torch.inference_mode():
        pairs = [(body(x.contiguous(memory_format=layout)), y) for x, y in loader]
    x, y = (torch.cat([pair[i] for pair in pairs]).clone() for i in (0, 1))
    shuffled = isinstance(loader.sampler, torch.utils.data.RandomSampler)

    def batches():
        order = torch.randperm(len(x)) if shuffled else torch.arange(len(x))
        for rows in order.split(loader.batch_size):
            yield x[rows], y[rows]
    return batches


def fit(a):
    import torch
    layout = layout_of(a.layout)
    train, val = loaders(a)
    body, head = split_resnet(load_network(a, len(train.dataset.classes)), a.kind == "last")
    optimizer = optimizer_of(head.parameters(), a.lr)
    kept = a.kind == "cached"
    if kept:
        train, val = ([cached(part, body, layout)] for part in (train, val))
    seconds, accuracy = [], 0

    def batches(part):
        if kept:
            yield from part[0]()
            return
        for x, y in part:
            with torch.no_grad():
                x = body(x.contiguous(memory_format=layout))
            yield x, y

    for _ in range(a.epochs):
        began = time.perf_counter()
        head.train()
        for x, y in batches(train):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(x), y).backward()
            optimizer.step()
        head.eval()
        right = count = 0
        with torch.inference_mode():
            for x, y in batches(val):
                right += (head(x).argmax(1) == y).sum().item()
                count += len(y)
        accuracy = right / count
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"epochs": seconds, "accuracy": accuracy}))


# ---- start, weights ----

def start(a):
    import torch
    body, head = split_resnet(load_network(a, 2), False)
    optimizer = optimizer_of(head.parameters(), a.lr)
    x, y = torch.empty(a.batch, 3, 224, 224), torch.zeros(a.batch, dtype=torch.long)
    print("ready", flush=True)
    return body, optimizer, x, y


def weights(a):
    import torch
    torch.manual_seed(1)
    net = architecture("resnet18").train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of what comes
    with torch.no_grad():
        for _ in range(4):
            net(torch.randn(8, 3, 224, 224))
    torch.save(net.state_dict(), a.weights)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve", "fit", "start", "weights"])
    parser.add_argument("kind", nargs="?", choices=["head", "cached", "last"])
    parser.add_argument("--weights")
    parser.add_argument("--data")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--layout", default="nchw", choices=["nchw", "channels_last"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--declare-operators", action="store_true", help="torchvision lacks its compiled part")
    a = parser.parse_args()
    import torch
    torch.set_num_threads(a.threads)
    library = declare_operators() if a.declare_operators else None
    {"serve": serve, "fit": fit, "start": start, "weights": weights}[a.command](a)
    del library


if __name__ == "__main__":
    main()

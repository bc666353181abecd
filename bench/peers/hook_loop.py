"""Exact patching as it is usually done: one PyTorch forward pass per node, with a hook that puts the source run's values
at one node, and the metric read off the logits of all positions.

  python3 hook_loop.py transformers        GPT-2 of the package transformers, with hooks on its modules
  python3 hook_loop.py transformer_lens    the same GPT-2 as a HookedTransformer of the package transformer_lens

Speaks one line of JSON per line of JSON, until its input ends:

  first      {"threads": 2, "packages": "torch …, transformers …"}, or {"missing": "No module named 'torch'"}
  a model    {"checkpoint": folder} or {"shape": {"layers": 12, "width": 768, "heads": 12, "vocabulary": 50257,
             "positions": 1024}} (random weights), with the two prompts and the logit difference to read: "base", "source",
             "answers", "wrong": token ids; "position"                                                       -> {"loaded": true}
  nodes      {"site": "z", "nodes": [[layer, index, position], …]}, site q, k, v, z or neuron
             -> {"seconds": one per node, "effects": one per node}
"""

import importlib
import json
import os
import sys
import time
from contextlib import ExitStack

# Passes that are not timed, before the timed ones: caches and threads wake up.
WARM_UP = 2

SITES = ("q", "k", "v", "z", "neuron")


class HookLoop:
    """`model` is a GPT2 of one of the modules beside this file."""

    def __init__(self, model, request):
        self.model = model
        self.base = torch.tensor([request["base"]])
        self.position = request["position"]
        self.answers = request["answers"]
        self.wrong = request["wrong"]
        self.source = self.record(torch.tensor([request["source"]]))
        self.base_metric = self.metric(self.base)

    def metric(self, tokens):
        """Mean answer logit minus mean wrong logit."""
        at = self.model.logits(tokens)[0, self.position]
        return (at[self.answers].mean() - at[self.wrong].mean()).item()

    def record(self, tokens):
        """The values of every site and layer in a run."""
        values = {}
        with ExitStack() as hooks:
            for site in SITES:
                for layer in range(self.model.layers):

                    def keep(value, key=(site, layer)):
                        values[key] = value.clone()

                    hooks.enter_context(self.model.hooked(site, layer, keep))
            self.model.logits(tokens)
        return values

    def patched_metric(self, site, layer, index, position):
        place = self.model.place(site, index, position)
        source = self.source[site, layer]

        def patch(value):
            value[place] = source[place]

        with self.model.hooked(site, layer, patch):
            return self.metric(self.base)

    def run(self, site, nodes):
        for node in nodes[:WARM_UP]:
            self.patched_metric(site, *node)
        seconds = []
        effects = []
        for node in nodes:
            start = time.perf_counter()
            effect = self.patched_metric(site, *node) - self.base_metric
            seconds.append(time.perf_counter() - start)
            effects.append(effect)
        return {"seconds": seconds, "effects": effects}


def load(gpt2, request):
    torch.manual_seed(0)
    if "checkpoint" in request:
        return gpt2.from_checkpoint(request["checkpoint"])
    return gpt2.random(**request["shape"])


def answer(reply):
    print(json.dumps(reply), flush=True)


def main(gpt2, packages):
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads)
    answer({"threads": threads, "packages": packages})
    loop = None
    with torch.no_grad():
        for line in sys.stdin:
            request = json.loads(line)
            if "nodes" in request:
                answer(loop.run(request["site"], request["nodes"]))
            else:
                loop = HookLoop(load(gpt2, request), request)
                answer({"loaded": True})


try:
    import torch

    module = importlib.import_module(f"{sys.argv[1]}_gpt2")
except ImportError as error:
    answer({"missing": str(error)})
else:
    main(module.GPT2, module.PACKAGES)

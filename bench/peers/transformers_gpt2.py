"""GPT-2 of the package transformers, with hooks on its modules. Values of all sites are [1, T, n]."""

from contextlib import contextmanager

import torch
import transformers

PACKAGES = f"torch {torch.__version__}, transformers {transformers.__version__}"


class GPT2:
    def __init__(self, model):
        self.model = model.eval()
        self.width = model.config.n_embd
        self.head_width = model.config.n_embd // model.config.n_head
        self.layers = model.config.n_layer

    @staticmethod
    def from_checkpoint(folder):
        return GPT2(transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32))

    @staticmethod
    def random(layers, width, heads, vocabulary, positions):
        config = transformers.GPT2Config(
            n_layer=layers, n_embd=width, n_head=heads, vocab_size=vocabulary, n_positions=positions,
            bos_token_id=0, eos_token_id=0,
        )
        return GPT2(transformers.GPT2LMHeadModel(config))

    def logits(self, tokens):
        return self.model(tokens, use_cache=False).logits

    @contextmanager
    def hooked(self, site, layer, see):
        """Shows `see` the tensor that holds the site's values; it may change it in place."""
        block = self.model.transformer.h[layer]
        if site in ("q", "k", "v"):
            handle = block.attn.c_attn.register_forward_hook(lambda module, args, output: see(output))
        else:
            reader = block.attn.c_proj if site == "z" else block.mlp.c_proj
            handle = reader.register_forward_pre_hook(lambda module, args: see(args[0]))
        try:
            yield
        finally:
            handle.remove()

    def place(self, site, index, position):
        """Where a node's values lie in the tensor."""
        if site == "neuron":
            return 0, position, slice(index, index + 1)
        part = {"q": 0, "k": 1, "v": 2, "z": 0}[site]  # c_attn gives queries, then keys, then values
        first = part * self.width + index * self.head_width
        return 0, position, slice(first, first + self.head_width)

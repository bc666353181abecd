"""GPT-2 as a HookedTransformer of the package transformer_lens (releases before 4). Values are [1, T, heads, h], neurons
[1, T, F]."""

from importlib.metadata import version

import torch
import transformers
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

PACKAGES = f"torch {torch.__version__}, transformer_lens {version('transformer_lens')}"


class GPT2:
    def __init__(self, model):
        self.model = model.eval()
        self.layers = model.cfg.n_layers

    @staticmethod
    def from_checkpoint(folder):
        source = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
        config = source.config
        cfg = configuration(config.n_layer, config.n_embd, config.n_head, config.vocab_size, config.n_positions)
        model = HookedTransformer(cfg)
        # The weights and nothing else: the state also holds masks, and an output bias that GPT-2 does not have.
        model.load_state_dict(convert_gpt2_weights(source, cfg), strict=False)
        return GPT2(model)

    @staticmethod
    def random(layers, width, heads, vocabulary, positions):
        return GPT2(HookedTransformer(configuration(layers, width, heads, vocabulary, positions)))

    def logits(self, tokens):
        return self.model(tokens)

    def hooked(self, site, layer, see):
        """Shows `see` the tensor that holds the site's values; it may change it in place."""
        name = f"blocks.{layer}.mlp.hook_post" if site == "neuron" else f"blocks.{layer}.attn.hook_{site}"
        return self.model.hooks(fwd_hooks=[(name, lambda value, hook: see(value))])

    def place(self, site, index, position):
        """Where a node's values lie in the tensor."""
        return 0, position, index


def configuration(layers, width, heads, vocabulary, positions):
    return HookedTransformerConfig(
        n_layers=layers, d_model=width, n_heads=heads, d_head=width // heads, d_mlp=4 * width, d_vocab=vocabulary,
        n_ctx=positions, act_fn="gelu_new", normalization_type="LN", device="cpu",
    )

"""The language model behind the bridge: a transformers causal LM on packed rows, with LoRA through peft.

Legend: T packed tokens, D decoder width, M supervised tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from protein2text.errors import ConfigError, MissingWeights
from protein2text.models.attention import PACKED
from protein2text.models.batches import TextBatch
from protein2text.models.compatibility import clean_up, cleans_up, settle_decoder
from protein2text.models.model_config import DecoderConfig, LoraConfig
from protein2text.models.sources import resolve_source
from protein2text.models.tokenizer import load_tokenizer


class Decoder(nn.Module):
    """A frozen causal language model; ``add_lora`` puts trainable adapters beside its linear layers.

    Args:
        compat: load as the published checkpoint's reference does, in half precision; ``settle`` then ends the loading.
    """

    def __init__(self, config: DecoderConfig, *, compat: bool = False) -> None:
        super().__init__()
        path = resolve_source(config.source, config.revision)
        self.config, self.compat = config, compat
        self.tokenizer = load_tokenizer(path, compat=compat)
        self.cleans_up = compat and cleans_up(path)
        self.language_model: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=torch.float16 if compat else getattr(torch, config.dtype),
            attn_implementation=PACKED,
            use_safetensors=True,
            local_files_only=True,
        )
        self.language_model.requires_grad_(False)
        self.has_lora = False
        self.is_merged = False

    @property
    def width(self) -> int:
        return int(self.language_model.get_input_embeddings().weight.shape[1])

    def add_lora(self) -> None:
        """Inject fresh adapters: A random, B zero, so that the model's answers do not change at first.

        Raises:
            ConfigError: a target that the decoder does not have; peft would pass over it in silence.
        """
        if not self.has_lora:
            check_lora_targets(self.config.lora, self.language_model)
            inject_adapter_in_model(peft_config(self.config.lora), self.language_model)
            self.has_lora = True

    def lora_state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = get_peft_model_state_dict(self.language_model) if self.has_lora else {}
        return state

    def load_lora(self, state: dict[str, Tensor]) -> None:
        """Set all adapters.

        Raises:
            MissingWeights: the names are not exactly those of this configuration.
        """
        self.add_lora()
        wanted = set(self.lora_state())
        if wanted != set(state):
            odd = sorted(wanted ^ set(state))
            raise MissingWeights(
                "lora", f"adapter tensors differ: {', '.join(odd[:3])}", "Use the configuration they were trained with."
            )
        set_peft_model_state_dict(self.language_model, state)

    def embed(self, ids_T: Tensor) -> Tensor:
        """Token embeddings, ``(T, D)``."""
        embeddings_TD: Tensor = self.language_model.get_input_embeddings()(ids_T)
        return embeddings_TD

    def settle(self, lora: dict[str, Tensor]) -> None:
        """Take the adapters of a model folder: beside the base's weights, or in compatibility mode into them."""
        if self.compat:
            settle_decoder(self.language_model, lora, self.config.lora, len(self.tokenizer))
        elif lora:
            self.load_lora(lora)

    def merge_lora(self) -> None:
        """Add the adapters to the weights they stand beside; answers stay the same, and come faster."""
        for name, module in list(self.language_model.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
                self.language_model.set_submodule(name, module.get_base_layer())
        self.has_lora, self.is_merged = False, True

    def checkpoint_activations(self) -> None:
        """Keep only each layer's input for the backward pass, which computes the rest again, with the same dropout."""
        self.language_model.activation_checkpointing_enable({"use_reentrant": False})

    def text_of(self, ids: Sequence[int]) -> str:
        """An answer's text: control tokens left out, and no white space at its ends."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return (clean_up(text) if self.cleans_up else text).strip()

    @property
    def head(self) -> nn.Linear:
        """The output layer, hidden states to logits."""
        head: nn.Linear = self.language_model.get_output_embeddings()
        return head

    def logits(self, inputs_TD: Tensor, text: TextBatch) -> Tensor:
        """Next-token logits on the supervised rows only, ``(M, V)``.

        Args:
            inputs_TD: embeddings of ``text`` with its proteins' rows in place.
        """
        output = self.language_model(**_packed(inputs_TD, text), logits_to_keep=text.supervised_rows_M)
        logits_MV: Tensor = output.logits[0]
        return logits_MV

    def hidden(self, inputs_TD: Tensor, text: TextBatch) -> Tensor:
        """What the head would be given for those rows, ``(M, D)``."""
        output = self.language_model.get_decoder()(**_packed(inputs_TD, text))
        hidden_MD: Tensor = output.last_hidden_state[0, text.supervised_rows_M]
        return hidden_MD


def _packed(inputs_TD: Tensor, text: TextBatch) -> dict[str, Any]:
    """What transformers is told of packed rows."""
    no_mask = inputs_TD.new_empty(1, 1, 1, 1)  # four dimensions: taken as finished, so that no (T, T) mask is built
    return {
        "inputs_embeds": inputs_TD[None], "position_ids": text.positions_T[None], "use_cache": False,
        "attention_mask": no_mask, "packed_cu_seqlens": text.cu_seqlens_N1, "packed_lengths": text.lengths,
    }  # fmt: skip


def check_lora_targets(config: LoraConfig, language_model: nn.Module) -> None:
    """Refuse adapters beside layers that a decoder does not have.

    Raises:
        ConfigError: naming the target and the layers there are.
    """
    linear = [name for name, part in language_model.named_modules() if isinstance(part, nn.Linear)]
    for target in config.target_modules:
        if not any(f".{name}".endswith(f".{target}") for name in linear):
            present = ", ".join(sorted({name.split(".")[-1] for name in linear}))
            message = f"{target!r} is no linear layer of this decoder; it has {present}"
            raise ConfigError("model", "decoder.lora.target_modules", message)


def peft_config(config: LoraConfig) -> PeftLoraConfig:
    """The adapters as peft is told of them."""
    return PeftLoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(config.target_modules),
        bias="none", task_type="CAUSAL_LM",
    )  # fmt: skip

"""A loaded causal language model that answers questions, greedy. The back end `transformers` writes with it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError

from recsys.enrichment.backends.local_model import LocalModelSettings
from recsys.enrichment.request import TextReply, TextRequest
from recsys.model.causal_model import load_causal_model
from recsys.model.encoder_source import ModelKeys, model_folder
from recsys.model.precision import dtype_of

#: For chat templates that know it (such as Qwen3's): thoughts would take the tokens of the answer.
NO_THOUGHTS = {"enable_thinking": False}

_KEYS = ModelKeys(model="enrich.settings.model", revision="enrich.settings.revision")


class LocalModelWriter:
    """A loaded model with its tokenizer."""

    def __init__(self, settings: LocalModelSettings, max_output_tokens: int) -> None:
        self._batch_size, self._most = settings.batch_size, max_output_tokens
        self._device = torch.device("cuda" if settings.use_gpu else "cpu")
        folder = model_folder(settings.model, settings.revision, _KEYS)
        dtype, where = dtype_of(settings.precision, self._device), f"enrich.settings.model={settings.model}"
        model, self._tokenizer = load_causal_model(folder, dtype, where)
        self._model = model.to(self._device)
        self._longest = int(
            min(self._tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 1 << 30)
        )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token
        self._tokenizer.padding_side = "left"  # the answer follows the last token of each row

    def write(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Batch by batch; requests of similar length share one. A question that is too long gets an empty answer."""
        ids = [self._tokens(request) for request in requests]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        fitting = [place for place in order if len(ids[place]) + self._most <= self._longest]
        replies = [TextReply()] * len(requests)
        for start in range(0, len(fitting), self._batch_size):
            places = fitting[start : start + self._batch_size]
            for place, reply in zip(places, self._generate([ids[place] for place in places]), strict=True):
                replies[place] = reply
        return replies

    def _tokens(self, request: TextRequest) -> list[int]:
        """The question as tokens: by the chat template of the model, or as plain text."""
        if self._tokenizer.chat_template is None:
            found: list[int] = self._tokenizer(f"{request.system}\n\n{request.prompt}\n\n")["input_ids"]
            return found
        try:
            chat = self._chat({"system": request.system, "user": request.prompt})
        except TemplateError:  # templates such as Gemma's refuse a system message
            chat = self._chat({"user": f"{request.system}\n\n{request.prompt}"})
        tokens: list[int] = self._tokenizer(chat, add_special_tokens=False)["input_ids"]
        return tokens

    def _chat(self, messages: Mapping[str, str]) -> Any:
        """Messages by their role in the form of the model's chat template."""
        listed = [{"role": role, "content": content} for role, content in messages.items()]
        return self._tokenizer.apply_chat_template(listed, tokenize=False, add_generation_prompt=True, **NO_THOUGHTS)

    def _generate(self, ids: list[list[int]]) -> list[TextReply]:
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._device)
        width = batch["input_ids"].shape[1]
        with torch.inference_mode():
            rows = self._model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                max_new_tokens=self._most,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        replies = []
        for tokens, row in zip(ids, rows[:, width:], strict=True):
            written = row[row != self._tokenizer.pad_token_id]
            text = str(self._tokenizer.decode(written, skip_special_tokens=True))
            replies.append(TextReply(text=text, input_tokens=len(tokens), output_tokens=len(written)))
        return replies

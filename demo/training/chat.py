"""Two ways to ask a model: chat completions of a running vLLM, and greedy decoding with transformers."""

import json
import re
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

MAX_TOKENS = 256
Request = tuple[list[dict], list[dict]]


@dataclass
class Reply:
    """What came back: text, and calls as (name, arguments)."""

    content: str = ""
    calls: list[tuple[str, dict]] = field(default_factory=list)


def parse_arguments(text: str) -> dict:
    """Arguments that are no JSON object count as wrong, not as a crash."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {"malformed": text}
    return value if isinstance(value, dict) else {"malformed": text}


class Chat(ABC):
    """Answers many requests, each messages and tools."""

    @abstractmethod
    def complete(self, requests: list[Request]) -> list[Reply]:
        """Return one reply a request, in order."""


class VllmChat(Chat):
    """Through /v1/chat/completions, sixteen at a time."""

    def __init__(self, url: str, model: str, stream: bool) -> None:
        from openai import OpenAI

        self._client, self._model, self._stream = OpenAI(base_url=url, api_key="none"), model, stream

    def complete(self, requests: list[Request]) -> list[Reply]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(self._streamed if self._stream else self._whole, requests))

    def _arguments(self, request: Request) -> dict:
        messages, tools = request
        arguments = {"model": self._model, "messages": messages, "max_tokens": MAX_TOKENS}
        return arguments | ({"tools": tools} if tools else {})

    def _whole(self, request: Request) -> Reply:
        message = self._client.chat.completions.create(**self._arguments(request)).choices[0].message
        calls = [(call.function.name, parse_arguments(call.function.arguments)) for call in message.tool_calls or []]
        return Reply(message.content or "", calls)

    def _streamed(self, request: Request) -> Reply:
        content, names, arguments = "", {}, {}
        for chunk in self._client.chat.completions.create(stream=True, **self._arguments(request)):
            if not chunk.choices:
                continue
            delta = chunk.choices[0].delta
            content += delta.content or ""
            for call in delta.tool_calls or []:
                names[call.index] = names.get(call.index, "") + (call.function.name or "")
                arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
        return Reply(content, [(names[i], parse_arguments(arguments[i])) for i in sorted(names)])


class LocalChat(Chat):
    """Greedy decoding in batches; calls are parsed as vLLM's mistral parser does."""

    BATCH = 256

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(self._device).eval()

    def complete(self, requests: list[Request]) -> list[Reply]:
        replies = []
        for start in range(0, len(requests), self.BATCH):
            replies += self._batch(requests[start : start + self.BATCH])
        return replies

    def _batch(self, requests: list[Request]) -> list[Reply]:
        prompts = [
            self._tokenizer.apply_chat_template(m, tools=t or None, tokenize=False, add_generation_prompt=True)
            for m, t in requests
        ]
        encoded = self._tokenizer(
            prompts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False
        ).to(self._device)
        written = self._model.generate(**encoded, max_new_tokens=MAX_TOKENS, do_sample=False, temperature=None)
        texts = self._tokenizer.batch_decode(written[:, encoded["input_ids"].shape[1] :], skip_special_tokens=False)
        return [self._parse(text.split(self._tokenizer.eos_token)[0]) for text in texts]

    @staticmethod
    def _parse(text: str) -> Reply:
        content, *calls = text.split("[TOOL_CALLS]")
        pairs = [re.split(r"\[ARGS\]", call, maxsplit=1) for call in calls]
        return Reply(
            content,
            [(pair[0], parse_arguments(pair[1]) if len(pair) == 2 else {"malformed": pair[0]}) for pair in pairs],
        )

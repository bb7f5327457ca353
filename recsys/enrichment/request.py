"""One question to a back end, and its answer."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys.enrichment.config import FACTS, ItemTextsConfig, UserTextsConfig

#: What is known of an item or a user, by the name of the fact.
Facts = Mapping[str, str | list[str]]
#: Marks of a chat model around a message: tokens of each message, more than any known template takes.
_TOKENS_AROUND = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A text to write about one item or user."""

    key: str
    """Of the stored text: a hash of the facts."""
    data: str
    """The facts as JSON, in one line."""
    system: str
    template: str

    @property
    def facts(self) -> Facts:
        """The facts."""
        found: Facts = json.loads(self.data)
        return found

    @property
    def has_facts(self) -> bool:
        """Whether anything is known: about nothing, a model would write what it makes up."""
        return self.data != "{}"

    @property
    def words(self) -> str:
        """What the facts say, without their names."""
        return "\n".join(text for value in self.facts.values() for text in texts_of(value))

    @property
    def prompt(self) -> str:
        """The question, with the facts of this item or user and of no other."""
        return self.template.replace(FACTS, self.data)

    @property
    def most_input_tokens(self) -> int:
        """Tokens that the question has at most: no tokenizer makes more tokens than there are bytes."""
        texts = (self.system, self.template, self.data)
        return sum(len(text.encode()) for text in texts) + 2 * _TOKENS_AROUND


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReply:
    """What came of a request."""

    text: str = ""
    """As the back end wrote it: nothing of it is trusted."""
    error: str = ""
    """Why there is no answer; such a text is asked for again in the next night. Empty: there is one."""
    input_tokens: int = 0
    output_tokens: int = 0


def texts_of(value: str | Sequence[str]) -> list[str]:
    """A fact as a list of texts."""
    return [value] if isinstance(value, str) else list(value)


def request_for(facts: Facts, spec: ItemTextsConfig | UserTextsConfig) -> TextRequest:
    """The request about one item or user; empty facts are left out."""
    return request_of(json.dumps({name: value for name, value in facts.items() if value}, ensure_ascii=False), spec)


def request_of(data: str, spec: ItemTextsConfig | UserTextsConfig) -> TextRequest:
    """The same from the facts as JSON."""
    key = hashlib.blake2b(data.encode(), digest_size=16).hexdigest()
    return TextRequest(key=key, data=data, system=spec.system, template=spec.prompt)


def prompt_hash(spec: ItemTextsConfig | UserTextsConfig) -> str:
    """Hex digest of the templates, 16 digits."""
    return hashlib.sha256(json.dumps([spec.system, spec.prompt]).encode()).hexdigest()[:16]

"""Any endpoint that speaks OpenAI's chat protocol: a service on the internet, or a server of one's own.

The client is the package `openai`: it retries with growing waits, and waits as long as `Retry-After` says.
"""

import importlib.util
import logging
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from recsys.config.section import Positive, Section
from recsys.enrichment.backends.backend import Backend, Writer, WriterNeeds
from recsys.enrichment.request import TextReply, TextRequest
from recsys.enrichment.written_text import read_reply
from recsys.errors import ConfigError

logger = logging.getLogger(__name__)

#: Errors of the client's transport, httpx or httpx2: its versions differ in which of them they take.
_NOT_REACHED = ("ConnectError", "ConnectTimeout")
#: Answers that no further try changes: the rest of the night would fail in the same way.
_HOPELESS = (401, 403, 404)
#: Requests that fail one after the other, each with its retries, until the endpoint counts as down. Answers that cannot
#: be read count too: each is paid.
_MOST_FAILURES = 20


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^@\s?#]+", text):  # what is refused may hold a password: it is not repeated
        raise ValueError("must be an address such as https://host/v1, without a user, a password or what follows a ?")
    return text


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("must be the name of an environment variable, such as OPENAI_API_KEY, and not the key itself")
    return name


class OpenAISettings(Section):
    """Settings of `openai`."""

    model: Annotated[str, Field(min_length=1)]
    """Name of the model, as the endpoint knows it."""
    base_url: Annotated[str, AfterValidator(_address)] = "https://api.openai.com/v1"
    """Address of the endpoint, up to `/v1`."""
    key_variable: Annotated[str, AfterValidator(_variable)] | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; null: the endpoint asks for none. The key is never in a config."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests at a time."""
    requests_per_minute: Positive | None = None
    """Rate limit of our requests; null: none. Retries do not count."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    """Seconds until a request without an answer is given up, and tried again."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 5
    """Further tries after 408, 409, 429, a 5xx or a lost connection."""
    json_mode: bool = True
    """Ask for a JSON object (`response_format`); false for endpoints that do not know it."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """Randomness of the answers; null: it is not sent, for models that take none."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How the endpoint calls the limit of an answer; newer models of OpenAI take `max_completion_tokens`."""


class OpenAIBackend(Backend[OpenAISettings]):
    """An OpenAI-compatible endpoint."""

    name = "openai"
    summary = "Any OpenAI-compatible endpoint. The facts of items and users are sent there."
    settings = OpenAISettings
    texts_per_part = 64

    def identity(self, settings: OpenAISettings, max_output_tokens: int) -> dict[str, Any]:
        """The model, where it is, and the length of an answer."""
        return {
            "model": settings.model,
            "base_url": settings.base_url,
            "max_output_tokens": max_output_tokens,
            "json_mode": settings.json_mode,
            "temperature": settings.temperature,
        }

    def model(self, settings: OpenAISettings) -> str:
        """The name of the model."""
        return settings.model

    def workers(self, settings: OpenAISettings) -> int | None:  # noqa: ARG002
        """One: it has the rate limit and the requests at a time in its hand."""
        return 1

    def check(self, settings: OpenAISettings) -> None:
        """The package and the key must be there.

        Raises:
            ConfigError: one is missing.
        """
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("enrich.backend=openai needs the package openai: pip install 'recsys[openai]'")
        if settings.key_variable is not None and not os.environ.get(settings.key_variable):
            # some keys look like names in lower case
            name = settings.key_variable if settings.key_variable.isupper() else "that it names"
            raise ConfigError(
                f"enrich.settings.key_variable: the environment variable {name} is not set; set it to the key of "
                f"{settings.base_url}, or key_variable to null if that asks for none"
            )

    def open(self, settings: OpenAISettings, needs: WriterNeeds) -> Writer:
        """Make the client.

        Raises:
            ConfigError: the worker has no key.
        """
        self.check(settings)
        return OpenAIWriter(settings, needs.max_output_tokens)


class OpenAIWriter:
    """A client with its connections and its rate limit."""

    def __init__(self, settings: OpenAISettings, max_output_tokens: int) -> None:
        from openai import OpenAI
        from pyrate_limiter import Duration, Limiter, Rate

        self._settings, self._most = settings, max_output_tokens
        key = os.environ[settings.key_variable] if settings.key_variable is not None else "none"
        self._client: OpenAI = OpenAI(
            api_key=key, base_url=settings.base_url, timeout=settings.timeout_s, max_retries=settings.max_retries
        )
        self._given_up = ""
        self._failed_in_a_row = 0
        per_minute = settings.requests_per_minute
        self._limiter = None if per_minute is None else Limiter(Rate(per_minute, Duration.MINUTE))

    def write(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """Some at a time. A request that fails has an error in place of a text; the others go on.

        After an answer that no further try changes, or many failures in a row, the rest is not asked any more. The same
        holds after many answers in a row that cannot be read.
        """
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            return list(pool.map(self._ask, requests))

    def _ask(self, request: TextRequest) -> TextReply:
        if self._given_up:
            return TextReply(error=self._given_up)
        if self._limiter is not None:
            self._limiter.try_acquire("requests")  # waits
        reply = self._answer(request)
        failed = reply.error or read_reply(reply.text) is None
        self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
        if self._failed_in_a_row >= _MOST_FAILURES:
            if reply.error:
                self._give_up(f"not asked after {_MOST_FAILURES} failures in a row")
            else:
                why = f"not asked after {_MOST_FAILURES} answers in a row without a summary or keywords"
                self._give_up(why, "; see enrich.max_output_tokens, which thoughts may use up, and enrich.settings")
        return reply

    def _give_up(self, why: str, way_out: str = "") -> None:
        if not self._given_up:
            logger.warning("enrich: %s: %s%s; the rest waits for the next night", self._settings.base_url, why, way_out)
        self._given_up = why

    def _answer(self, request: TextRequest) -> TextReply:
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        settings = self._settings
        options: dict[str, Any] = {settings.limit_name: self._most}
        if settings.temperature is not None:
            options["temperature"] = settings.temperature
        if settings.json_mode:
            options["response_format"] = {"type": "json_object"}
        messages: Any = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.prompt},
        ]
        start = time.monotonic()
        try:
            answer = self._client.chat.completions.create(model=settings.model, messages=messages, **options)
            reply = _reply(answer, request, self._most)
        except APIStatusError as error:
            if error.status_code in _HOPELESS:
                self._give_up(f"status {error.status_code} for the model {settings.model}; see enrich.settings")
            return TextReply(error=f"status {error.status_code}")
        except APIConnectionError as error:  # also a time limit: each try may be billed, unless it reached nobody
            if type(error.__cause__).__name__ in _NOT_REACHED:
                return self._billed(request, "no connection", tries=self._lost_tries(start))
            why = "no answer in time" if isinstance(error, APITimeoutError) else "connection lost"
            return self._billed(request, why, tries=1 + settings.max_retries)
        except (OpenAIError, ValueError, AttributeError, TypeError, IndexError):
            return self._billed(request, "an answer that is not of the protocol")
        lost = self._billed(request, "", tries=self._lost_tries(start))
        return replace(
            reply,
            input_tokens=reply.input_tokens + lost.input_tokens,
            output_tokens=reply.output_tokens + lost.output_tokens,
        )

    def _lost_tries(self, start: float) -> int:
        """Tries that the client may have given up since a time: it does not say how many, and each may be billed."""
        return min(int((time.monotonic() - start) / self._settings.timeout_s), self._settings.max_retries)

    def _billed(self, request: TextRequest, error: str, tries: int = 1) -> TextReply:
        """A failure that the endpoint may have counted as an answer: it takes the most tokens from the budget."""
        most = tries * request.most_input_tokens, tries * self._most
        return TextReply(error=error, input_tokens=most[0], output_tokens=most[1])


def _reply(answer: Any, request: TextRequest, most_output_tokens: int) -> TextReply:
    """The text of an answer and its tokens; an endpoint that does not count gets the most that they can be."""
    text, usage = answer.choices[0].message.content, answer.usage
    counted = usage is not None
    return TextReply(
        text=text if isinstance(text, str) else "",
        input_tokens=int(usage.prompt_tokens) if counted else request.most_input_tokens,
        output_tokens=int(usage.completion_tokens) if counted else most_output_tokens,
    )

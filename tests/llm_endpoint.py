"""A real server on this machine that speaks OpenAI's chat protocol, and answers as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: (status, headers, body) for a request body.
Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]


def facts_in(body: dict[str, Any]) -> dict[str, Any]:
    """The facts in the question."""
    facts: dict[str, Any] = json.loads(body["messages"][1]["content"].rpartition("\n")[2])
    return facts


def completion(text: str, usage: dict[str, int] | None = None) -> tuple[int, dict[str, str], bytes]:
    """An answer of the protocol."""
    message = {"role": "assistant", "content": text}
    body: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 0, "model": "tiny"}
    body["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    if usage is not None:
        body["usage"] = usage | {"total_tokens": sum(usage.values())}
    return 200, {}, json.dumps(body).encode()


def written(summary: str, *keywords: str) -> tuple[int, dict[str, str], bytes]:
    """An answer with a summary and keywords, of 10 and 5 tokens."""
    text = json.dumps({"summary": summary, "keywords": list(keywords)})
    return completion(text, {"prompt_tokens": 10, "completion_tokens": 5})


def about_item(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """What an honest model writes."""
    return written(f"Bought for {facts_in(body)['text'].lower()}", "useful", facts_in(body)["text"][:20].lower())


@dataclass
class Endpoint:
    """The server as a test sees it."""

    url: str
    answer: Answer = about_item
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all requests, in their order."""
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        """The texts of the items that were asked for."""
        return [facts_in(body)["text"] for body in self.asked]


@contextmanager
def running_endpoint() -> Iterator[Endpoint]:
    """The server, for as long as the block takes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                found.asked.append(body)
                found.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, data = found.answer(body)
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                **headers,
                "Content-Length": str(len(data)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave a slow answer up has closed its connection."""

    lock = threading.Lock()
    with Server(("127.0.0.1", 0), Handler) as server:
        found = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield found
        server.shutdown()
        thread.join()

"""An HTTP server that behaves as it is told: an OpenAI-compatible endpoint with every kind of fault."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One answer.

    Attributes:
        body: sent as JSON, or as it is where it is bytes.
        delay: seconds before anything is sent.
        cut: send half of the body and hang up.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False


def says(text: str | None, finish: str = "stop", **message: Any) -> Answer:
    """A good answer with this text."""
    return Answer(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "small",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text, **message},
                    "logprobs": {
                        "content": [
                            {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []},
                            {"token": "b", "logprob": -1.5, "bytes": [98], "top_logprobs": []},
                        ]
                    },
                }
            ],
            "usage": {
                "prompt_tokens": 11,
                "completion_tokens": 2,
                "total_tokens": 13,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
        }
    )


def fault(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """An error as OpenAI words it."""
    error = {"message": message, "type": "error", "param": None, "code": code}
    return Answer(
        {"error": error}, status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


class Endpoint:
    """The server; `script` maps a part of a prompt to what is answered to it, one answer a call, the last
    one again and again.
    """

    def __init__(self) -> None:
        self.script: dict[str, list[Answer]] = {}
        self.calls: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: dict[str, Any], key: str | None) -> Answer:
        prompt = body.get("prompt") or "\n".join(m["content"] for m in body["messages"])
        with self._lock:
            self.calls.append(body)
            self.keys.append(key)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            for part, answers in self.script.items():
                if part in prompt:
                    return answers.pop(0) if len(answers) > 1 else answers[0]
        return says("fine")

    def answered(self) -> None:
        with self._lock:
            self._now -= 1


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            models = [{"id": "small", "object": "model", "created": 1, "owned_by": "me"}]
            self._send(Answer({"object": "list", "data": models}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = endpoint.answer(body, self.headers.get("Authorization"))
            try:
                time.sleep(answer.delay)
                self._send(answer)
            except OSError:
                self.close_connection = True
            finally:
                endpoint.answered()

        def _send(self, answer: Answer) -> None:
            raw = isinstance(answer.body, bytes)
            content = answer.body if raw else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/html" if raw else "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if answer.cut else content)
            self.close_connection = self.close_connection or answer.cut

        def log_message(self, *arguments: Any) -> None:
            """Nothing on the terminal."""

    return Handler


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """A server on loopback, for a block."""
    found = Endpoint()
    try:
        yield found
    finally:
        found.close()

"""An endpoint that computes like a real one and answers like a capable model.

Each request is passed on to the real endpoint, which reads the prompt and writes as many tokens as the
scripted reply has; the scripted reply is what comes back, with the real counts. So a small model's cost of
reading and writing goes with a capable model's replies: every reply is readable and every pair is good. How
long a reply is that says why, is ours to choose: one sentence for a reason, two for a thought.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.engine_parts.canned import PERSONAS, pair, reply

# A token of JSON in English has about so many characters.
_CHARACTERS_A_TOKEN = 4
# What a model says first: ours asks for one short sentence (screen, judge), the published way for its
# reasoning at every step.
_REASON = "The text states this plainly, names its subject in full and needs nothing else to be understood."
_THOUGHT = f"{_REASON} So it fits what was asked for here, and there is one clear way to go on."


@contextmanager
def scripted(upstream: str) -> Iterator[str]:
    """Serve on loopback in front of an endpoint (its URL up to /v1); gives the URL to call."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*_fetch(f"{upstream}{self.path.removeprefix('/v1')}", None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = json.dumps(_reply(body["messages"][-1]["content"]))
            body["max_tokens"] = len(text) // _CHARACTERS_A_TOKEN + 1
            # The reply's form is the script's; what constrains decoding would forbid going on after its end.
            body |= {"ignore_eos": True, "stream": False}
            for name in ("response_format", "max_completion_tokens", "stop"):
                body.pop(name, None)
            status, told = _fetch(f"{upstream}{self.path.removeprefix('/v1')}", body)
            if status == 200:
                told["choices"][0]["message"]["content"] = text
                told["choices"][0]["finish_reason"] = "stop"
            self._send(status, told)

        def _send(self, status: int, told: Any) -> None:
            payload = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            """Nothing: a line a request is too much."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def _reply(prompt: str) -> dict[str, Any]:
    """The reply to a prompt of ours or of the published way, which its reply's form tells."""
    if '"suited": "' in prompt:
        return {"thought": _THOUGHT, "suited": "Y"}
    if '"readers": "' in prompt:
        return {"thought": _THOUGHT, "domain": "Other", "readers": ", ".join(PERSONAS)}
    if '"has_context": "' in prompt:
        return {"thought": _THOUGHT, "has_context": "Y", "is_right": "Y", "given_away": "N"}
    if "[Your reader]\n" in prompt:
        document, _, rest = prompt.partition("[Document]\n")[2].partition("\n\n\n[Your reader]\n")
        written = pair(document, PERSONAS.index(rest.partition("\n")[0]))
        return {"thought": _THOUGHT, "question": written["question"], "answer": written["answer"]}
    found = reply(prompt)
    return found | {"reason": _REASON} if "reason" in found else found


def _fetch(url: str, body: dict[str, Any] | None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")

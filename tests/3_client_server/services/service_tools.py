"""What the tests of the services need: both as processes with their logs, a client, and a server that plays tricks."""

import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx2

from common.programs import url_of_server
from tests.helpers import WAIT_SECONDS, Program

PROBLEM = "application/problem+json"
GRACE = ("--timeout-graceful-shutdown", "1")
GONE = "http://127.0.0.1:1"  # nobody listens there


class Service:
    """A service as a process: its address, its log, and a client with connections that are kept."""

    def __init__(self, module: str, environment: dict[str, str], *, port: int = 0, **settings: str) -> None:
        module = module if "." in module else f"3_client_server.services.{module}"
        command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port)]
        self.program = Program([*command, *GRACE], environment | settings)
        self.url = url_of_server(self.program)
        self.client = httpx2.Client(base_url=self.url, timeout=WAIT_SECONDS)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self.program.errors

    def get(self, path: str, **options) -> httpx2.Response:
        return self.client.get(path, **options)

    def post(self, path: str, body=None, **options) -> httpx2.Response:
        return self.client.post(path, json=body, **options) if body is not None else self.client.post(path, **options)

    def leave(self) -> str:
        self.client.close()
        return self.program.leave()


class Trickster:
    """A server in the model service's place, which answers every request as `answer(handler)` does."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def assert_problem(response: httpx2.Response, status: int, part: str = "") -> dict:
    """Check that an answer is a problem+json with the request id and without anything internal; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"] and problem["detail"] and problem["type"].startswith("urn:problem:")
    assert problem["instance"] == response.request.url.path
    assert problem["request_id"] == response.headers["x-request-id"]
    assert part in problem["detail"]
    for word in ("Traceback", ".py", "Exception", "pydantic", "msgspec", "object at 0x"):
        assert word not in response.text
    return problem

"""What the tests of the pages need: the services as processes, a real Chromium, and an eye on both."""

import os
import shutil
import socket
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx2
import pytest

from common.programs import Program, answers, free_ports, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
SECONDS = 30  # deadline for whatever is waited for

# --- the services ---


@contextmanager
def served(module, port, log, ready, **environment):
    """Run a service as a process of its own until the block ends."""
    app = f"3_client_server.services.{module}:app"
    command = ["python", "-m", "uvicorn", app, "--port", port, "--timeout-graceful-shutdown", "1"]
    mine = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
    env = mine | {"PYTHONWARNINGS": "error"} | environment
    with Program(command, name=module, env=env, log=log) as service:
        until(lambda: answers(f"http://127.0.0.1:{port}{ready}"), SECONDS, f"{module} answers", [service])
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, model_path):
    logs, port = tmp_path_factory.mktemp("services"), free_ports(1)[0]
    with (
        served("model_service", port, logs / "model.log", "/health/ready", IRIS_MODEL_PATH=str(model_path)),
        served("gateway", free_ports(1)[0], logs / "gateway.log", "/health/ready",
               IRIS_MODEL_URL=f"http://127.0.0.1:{port}") as url,
    ):  # fmt: skip
        yield url


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A gateway with no model service behind it, and the port where it looks for one."""
    log, port = tmp_path_factory.mktemp("troubled") / "gateway.log", free_ports(1)[0]
    settings = {"IRIS_MODEL_URL": f"http://127.0.0.1:{port}", "IRIS_MODEL_DEADLINE_SECONDS": "1"}
    with served("gateway", free_ports(1)[0], log, "/health/live", IRIS_BREAKER_FAILURES="1000", **settings) as url:
        yield url, port


@contextmanager
def full_gateway(tmp_path):
    """A gateway that lets in one prediction at once, while one that never ends is inside."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent_model,
        served("gateway", free_ports(1)[0], tmp_path / "gateway.log", "/health/live",
               IRIS_MODEL_URL=f"http://127.0.0.1:{silent_model.getsockname()[1]}", IRIS_MAX_IN_FLIGHT="1",
               IRIS_MODEL_DEADLINE_SECONDS="60") as url,
        socket.create_connection(("127.0.0.1", urlsplit(url).port)) as client,
    ):  # fmt: skip
        body = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
        head = f"POST /iris-classifier HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode("ascii") + body)
        deadline = time.monotonic() + SECONDS
        while httpx2.get(url + "/api/monitor").json()["in_flight"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield url


# --- the browser ---


def missing(what):
    """Skip on a laptop, fail where the tests are to be complete."""
    say = pytest.fail if os.environ.get("CI") else pytest.skip
    say(f"{what} is missing.")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright (pip install playwright)")
    home = str(tmp_path_factory.mktemp("browser"))
    with sync_playwright() as driver:  # pyright: ignore[reportPossiblyUnboundVariable]
        chromium = CHROMIUM or driver.chromium.executable_path
        if not Path(chromium).exists():
            missing("Chromium (apt-get install chromium, or playwright install chromium)")
        environment: dict[str, str | float] = {**os.environ, "HOME": home, "TMPDIR": home}  # where the profile goes
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS, env=environment)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, gateway):
    """Open a page with the options of a browser context; in the end, nobody may have complained or gone elsewhere."""
    complaints, elsewhere, documents = [], [], set()

    def on_console(message):
        status_of_page = "responded with a status of" in message.text and message.location["url"] in documents
        if message.type in ("error", "warning") and not status_of_page:
            complaints.append(message.text)

    def on_dialog(dialog):
        complaints.append(dialog.message)
        dialog.dismiss()

    def on_request(request):
        if request.is_navigation_request():
            documents.add(request.url)
        if urlsplit(request.url).hostname != "127.0.0.1":
            elsewhere.append(request.url)

    with ExitStack() as stack:

        def open_page(path, base=gateway, **options):
            context = browser.new_context(base_url=base, **options)
            stack.callback(context.close)
            context.set_default_timeout(SECONDS * 1000)
            context.on("console", on_console)
            context.on("weberror", lambda error: complaints.append(str(error.error)))
            context.on("dialog", on_dialog)
            context.on("request", on_request)
            page = context.new_page()
            page.goto(path)
            return page

        yield open_page
    assert complaints == []
    assert elsewhere == []


class Nonsense(BaseHTTPRequestHandler):
    """A model service that answers what nobody can understand."""

    def do_POST(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"<moo>")

    def log_message(self, format, *args):
        """Say nothing."""


@contextmanager
def model_in_trouble(status, port):
    """Stand in for the model service: one that is not there, one that talks nonsense, one that never answers."""
    if status == 502:
        with ThreadingHTTPServer(("127.0.0.1", port), Nonsense) as server:
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
    elif status == 504:
        with socket.create_server(("127.0.0.1", port)):
            yield
    else:
        yield


LOW_CONTRAST = """() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const mark = element.matches(".mark");
    if (!element.getClientRects().length || !(text || mark)) continue;
    const style = getComputedStyle(element);
    const a = light(parse(element.closest("svg") ? style.fill : style.color)), b = light(ground(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (mark ? 3 : 4.5)) found.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return found;
}"""

"""Free ports, and whether a server answers at one."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from common.programs import answers, free_ports


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, format, *args):
        """Say nothing."""


def test_free_ports_differ_and_can_be_used():
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_server_answers_with_a_good_status_only():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            assert answers(f"{url}/health")
            assert not answers(f"{url}/busy")
        finally:
            server.shutdown()
            thread.join()
    assert not answers(f"{url}/health")

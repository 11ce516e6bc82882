#!/usr/bin/env python3
"""Stands in for kafka-broker-api-versions.sh: ask the broker which requests it knows, and wait for its answer."""

import socket
import struct
import sys

API_VERSIONS, VERSION, NUMBER, NO_CLIENT_ID = 18, 0, 1, -1

host, _, port = sys.argv[sys.argv.index("--bootstrap-server") + 1].partition(":")
with socket.create_connection((host, int(port)), 3) as broker:
    request = struct.pack(">hhih", API_VERSIONS, VERSION, NUMBER, NO_CLIENT_ID)
    broker.sendall(struct.pack(">i", len(request)) + request)
    answer = broker.recv(8)
sys.exit(0 if len(answer) == 8 and struct.unpack(">ii", answer)[1] == NUMBER else 1)

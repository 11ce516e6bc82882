"""Ten thousand malformed and hostile bodies: each is answered, none with a 500, and the services live on."""

import importlib
import json
import random
import re
from http.client import HTTPConnection

import pytest

from tests.helpers import TRACEBACK, WAIT_SECONDS, X

tools = importlib.import_module("tests.3_client_server.services.service_tools")
SEED = 20_260_101
GOOD = [
    json.dumps(body).encode("utf-8")
    for body in ({"input": X}, {"data": X}, {"data": [X, X], "unit": "mm"}, X, {"input": [X] * 3})
]
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n5.1,3.5,1.4,0.2\r\n'
    b'--x\r\nContent-Disposition: form-data; name="unit"\r\n\r\ncm\r\n--x--\r\n'
)
VALUES = ["NaN", "-Infinity", "1e999", "-1e999", "1e-999", "0", "-1", "1" * 5000, '"5.1"', "true", "null", "[]", "{}",
          '"\\ud800"', '"\\u0000"', "[" * 500, '{"a":' * 500, "0x1", "01", "1_0", ".5", "5.", "+1", "'5'"]  # fmt: skip
TYPES = ["application/json", "text/plain", "multipart/form-data; boundary=x", "multipart/form-data", "\xff",
         "application/x-www-form-urlencoded", "multipart/form-data; boundary=\"x"]  # fmt: skip
PATHS = {
    "model_service": ["/predict", "/explain"],
    "door": ["/process", "/iris-classifier", "/api/explain", "/classify", "/explain"],
}


def hostile(dice: random.Random) -> bytes:
    """A valid body with one thing wrong with it, or nothing valid at all."""
    body = bytearray(dice.choice([*GOOD, FORM]))
    match dice.randrange(8):
        case 0:
            return dice.randbytes(dice.randrange(200))
        case 1:
            for _ in range(dice.randrange(1, 8)):
                body[dice.randrange(len(body))] = dice.randrange(256)
        case 2:
            del body[dice.randrange(len(body)) :]
        case 3:
            place = dice.randrange(len(body))
            body[place:place] = dice.randbytes(dice.randrange(1, 20))
        case 4:
            return bytes(body) * dice.randrange(2, 4)
        case 5:
            return dice.choice(VALUES).encode("utf-8") * dice.choice([1, 1, 2])
        case 6:
            return b"\xef\xbb\xbf" + body
        case _:
            value = dice.choice(VALUES).encode("utf-8")
            return re.sub(rb"\d+\.\d+", lambda match: value if dice.random() < 0.4 else match[0], bytes(body))
    return bytes(body)


def attack(service, paths: list[str], count: int) -> dict[int, int]:
    """Send them over one connection; return how often each status came."""
    dice, statuses = random.Random(SEED), {}
    connection = HTTPConnection("127.0.0.1", service.port, timeout=WAIT_SECONDS)
    for number in range(count):
        body = hostile(dice)
        headers = {"Content-Type": dice.choice(TYPES)}
        connection.request("POST", paths[number % len(paths)], body, headers)
        answer = connection.getresponse()
        content = answer.read()
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert answer.status in (200, 400, 413, 422), (body, answer.status, content)
        assert TRACEBACK.encode() not in content
        if answer.status != 200 and answer.getheader("content-type") == tools.PROBLEM:
            assert json.loads(content)["detail"]
    connection.close()
    return statuses


@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["model_service", "door"])
def test_no_body_is_too_hostile(request: pytest.FixtureRequest, name: str, count: int):
    service = request.getfixturevalue(name)
    statuses = attack(service, PATHS[name], count)
    assert statuses[422] > count / 3
    assert service.get("/health/ready").status_code == 200
    assert TRACEBACK not in service.log

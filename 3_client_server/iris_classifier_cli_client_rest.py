"""Stage 3, the client: stage 2's prompt, with the prediction made elsewhere. It reads input, validates and shows.

Unlike stage 2, the prompt loop:
- it has no model: it sends the measurement to the server and waits for the answer;
- the server can be down, be full or refuse: one line says which, and the prompt goes on.

Run: python -m 3_client_server.iris_classifier_cli_client_rest
"""

import httpx2
from pydantic import ValidationError

from common.iris_dto import InvalidMeasurement, IrisType, Measurement, shorten, validate
from common.settings import load_settings
from common.terminal import ArgumentParser, read_lines, run, show

TIMEOUT_SECONDS = 30.0
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol, httpx2.InvalidURL)
UNKNOWN = "Did it predict? Nobody knows."


class NoAnswer(Exception):
    """No prediction came back; the message is a line for the person who asked."""


def predict(url: str, measurement: Measurement) -> IrisType:
    """Ask the server. One connection per request: an idle one would count against --limit-concurrency.

    Raises:
        NoAnswer: the server is down, too slow or full (503), or its answer is not an iris type.
    """
    try:
        response = httpx2.post(f"{url}/iris-classifier", json=measurement.model_dump(), timeout=TIMEOUT_SECONDS)
    except NEVER_SENT as error:
        raise NoAnswer(f"No server answers at {url} ({error}). Is it running?") from None
    except httpx2.TimeoutException:
        raise NoAnswer(f"The server at {url} did not answer within {TIMEOUT_SECONDS:g} s. {UNKNOWN}") from None
    except httpx2.RequestError as error:
        raise NoAnswer(f"The request reached {url}, but no answer came back ({error}). {UNKNOWN}") from None
    if response.status_code == 503:
        raise NoAnswer("503 Service Unavailable: the server is full. Try again in a moment.")
    if response.status_code == 422:
        reason = shorten(" ".join(response.text.split()), 200)
        raise NoAnswer(f"422: the server does not accept this measurement: {reason}")
    try:
        response.raise_for_status()
        return IrisType.model_validate_json(response.content)
    except (httpx2.HTTPStatusError, ValidationError):
        raise NoAnswer(f"The server at {url} answered {response.status_code}, but not with an iris type.") from None


def main(argv: list[str] | None = None) -> int:
    """Ask the server for one measurement per line until `q`."""
    parser = ArgumentParser(__doc__, "rest_url")
    parser.add_argument("--url", default=load_settings().rest_url, help="where the server is")
    args = parser.parse_args(argv)

    for words in read_lines():  # 2. read input
        try:
            measurement = validate(words)  # 3. validate
            iris_type = predict(args.url.rstrip("/"), measurement)  # 4. predict: the server does
        except (InvalidMeasurement, NoAnswer) as error:
            print(error, flush=True)
            continue
        print(show(iris_type), flush=True)  # 5. show
    return 0


if __name__ == "__main__":
    run(main)

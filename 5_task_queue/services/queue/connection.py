"""Whether Kafka answers: known to all requests, so that none waits for a Kafka that is known to be away."""

import logging

from common.kafka.connection import Connection
from common.web.problems import Problem

RETRY_SECONDS = 1.0
logger = logging.getLogger("iris")


class GatewayConnection(Connection):
    """Says it in the log. Kafka is taken to be away until it has answered for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.down = True

    def _say(self, line: str) -> None:
        self.down = True
        logger.warning(line)

    def answered(self) -> None:
        """Note that Kafka has answered."""
        if self.down:
            self.down = False
            logger.info("Kafka answers.")

    def silent(self) -> None:
        """Note that it has not answered in time."""
        if not self.down:
            self._say("Kafka does not answer in time. Waiting for it ...")

    def require(self) -> None:
        """Raise Problem 503 if Kafka is known to be away. Nothing has been sent then."""
        if self.down:
            raise Problem(
                503,
                "Kafka is away",
                f"Kafka does not answer, so nothing was accepted. Try again in {RETRY_SECONDS:g} s.",
                RETRY_SECONDS,
            )

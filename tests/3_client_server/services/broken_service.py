"""The model service with a fault of its own: whatever it is asked to predict, it raises."""

import importlib
from typing import Any

service: Any = importlib.import_module("3_client_server.services.model_service")
app = service.app


def fail(*_: object) -> None:
    raise RuntimeError("the secret of the model")


service.predict_fast = fail

"""One prediction of stage 1 with a stopwatch at its phases; `benchmarks.profiles` runs it in a process of its own."""

import time

BEGIN = time.perf_counter()

import importlib  # noqa: E402
import json  # noqa: E402

STAGE = "1_monolith_cli.iris_classifier_monolith_cli_app"


def main() -> None:
    """Print the seconds of each phase as JSON."""
    marks = {}
    last = BEGIN

    def mark(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        marks[name], last = now - last, now

    stage = importlib.import_module(STAGE)
    mark("import")
    model = stage.load_model()
    mark("load")
    measurement = stage.validate(["5.1", "3.5", "1.4", "0.2"])
    mark("validate")
    iris_type = stage.predict(model, measurement)
    mark("predict")
    stage.show(iris_type)
    mark("encode")
    print(json.dumps(marks))


if __name__ == "__main__":
    main()

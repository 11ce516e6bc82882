"""Stage 2: one process that asks, answers and asks again.

Unlike stage 1, the command line:
- the model is loaded once, not once per prediction;
- invalid input is explained, and the prompt asks again.

Run: python -m 2_monolith_user_input_loop.iris_classifier_monolith_user_input_loop_app
"""

from common.iris_dto import InvalidMeasurement, validate
from common.iris_model import load_model, predict
from common.terminal import ArgumentParser, read_lines, run, show


def main(argv: list[str] | None = None) -> int:
    """Predict one measurement per line until `q`."""
    ArgumentParser(__doc__, "model_path", "simulated_cpu_seconds").parse_args(argv)

    model = load_model()  # 1. load the model
    for words in read_lines():  # 2. read input
        try:
            measurement = validate(words)  # 3. validate
        except InvalidMeasurement as error:
            print(error, flush=True)
            continue
        iris_type = predict(model, measurement)  # 4. predict
        print(show(iris_type), flush=True)  # 5. show
    return 0


if __name__ == "__main__":
    run(main)

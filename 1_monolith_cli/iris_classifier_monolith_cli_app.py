"""Stage 1: one prediction per process, the measurement on the command line.

Unlike stage 0, the notebook:
- anyone with a terminal can run it, and so can a script;
- the model is loaded from its file, not trained in the cell above.

Run: python -m 1_monolith_cli.iris_classifier_monolith_cli_app 5.1 3.5 1.4 0.2
"""

import sys

from common.iris_dto import FEATURES, InvalidMeasurement, validate
from common.iris_model import load_model, predict
from common.terminal import ArgumentParser, run, show


def main(argv: list[str] | None = None) -> int:
    """Predict the one measurement on the command line."""
    parser = ArgumentParser(__doc__, "model_path", "simulated_cpu_seconds")
    parser.add_argument("words", nargs="*", metavar="CM", help=f"4 numbers: {', '.join(FEATURES)} in cm")
    parser.add_argument("--json", action="store_true", help="print JSON for other programs")

    model = load_model()  # 1. load the model
    args = parser.parse_args(argv)  # 2. read input
    try:
        measurement = validate(args.words)  # 3. validate
    except InvalidMeasurement as error:
        print(error, file=sys.stderr)
        return 2
    iris_type = predict(model, measurement)  # 4. predict
    print(iris_type.model_dump_json() if args.json else show(iris_type))  # 5. show
    return 0


if __name__ == "__main__":
    run(main)

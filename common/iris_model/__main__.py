"""Describe the model, or train it again: `python -m common.iris_model [--train]`."""

import json

from common.terminal import ArgumentParser, run

from . import __doc__ as about
from . import load_model, train_and_save


def main(argv: list[str] | None = None) -> int:
    """Describe the model, or train it again."""
    parser = ArgumentParser(about, "model_path")
    parser.add_argument("--train", action="store_true", help="train and save a new model")
    args = parser.parse_args(argv)
    model = train_and_save() if args.train else load_model()
    print(json.dumps(model.describe(), indent=2))
    return 0


if __name__ == "__main__":
    run(main)

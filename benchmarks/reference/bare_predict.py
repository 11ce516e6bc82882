"""The raw limit of the model: scikit-learn's `Pipeline.predict` on the whole array, and on one row at a time.

Run: python -m benchmarks.reference.bare_predict --rows 1000000
"""

import argparse
import json
import time

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SINGLE_ROWS = 500


def main() -> None:
    """Predict and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    many = np.resize(X, (args.rows, 4))
    start = time.perf_counter()
    model.predict(many)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    for i in range(SINGLE_ROWS):
        model.predict(many[i : i + 1])
    single = time.perf_counter() - start
    print(json.dumps({"rows": args.rows, "rate": round(args.rows / whole), "single_rate": round(SINGLE_ROWS / single)}))


if __name__ == "__main__":
    main()

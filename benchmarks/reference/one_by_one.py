"""How most task queues work: take one task, decode, `Pipeline.predict` on one row, produce, flush, commit, wait.

The model is scikit-learn's own pipeline, trained here. Nothing is validated.

Run: python -m benchmarks.reference.one_by_one --servers localhost:9092 --count 1000
"""

import argparse
import json
import signal
import time

import numpy as np
from confluent_kafka import Consumer, Producer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def main() -> None:
    """Work until `--count` tasks or SIGTERM; print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="localhost:9092")
    parser.add_argument("--tasks", default="tasks", help="topic to read")
    parser.add_argument("--results", default="results", help="topic to write")
    parser.add_argument("--group", default="reference-one-by-one")
    parser.add_argument("--count", type=int, required=True, help="tasks after which it ends")
    args = parser.parse_args()

    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
    common = {"bootstrap.servers": args.servers}
    producer = Producer(common | {"linger.ms": 0})
    consumer = Consumer(common | {"group.id": args.group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([args.tasks])
    done, started = 0, 0.0
    while done < args.count and not ended:
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        started = started or time.perf_counter()
        task = json.loads(message.value() or b"")
        row = np.array([[task["X"][name] for name in FEATURES]])
        answer = {"task_id": task["task_id"], "X": task["X"], "y": {"iris_type": int(model.predict(row)[0])}}
        producer.produce(args.results, json.dumps(answer), task["task_id"])
        producer.flush()
        consumer.commit(message=message, asynchronous=False)
        done += 1
    seconds = time.perf_counter() - started if started else 0.0
    consumer.close()
    print(json.dumps({"messages": done, "seconds": round(seconds, 3), "rate": round(done / seconds) if seconds else 0}))


if __name__ == "__main__":
    main()

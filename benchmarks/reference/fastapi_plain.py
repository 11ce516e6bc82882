"""The fixed reference of stage 3: what most tutorials show. It shares no code with the stages, and never changes.

A `def` endpoint, run in FastAPI's thread pool, calls scikit-learn's Pipeline.predict on one row. Trained in place.
"""

from fastapi import FastAPI
from pydantic import BaseModel
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPECIES = ("setosa", "versicolor", "virginica")


class Measurement(BaseModel):
    """One flower, in cm."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class Prediction(BaseModel):
    """What the model says."""

    iris_type: int
    species: str


app = FastAPI()
pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(*load_iris(return_X_y=True))


@app.post("/predict")
def predict(measurement: Measurement) -> Prediction:
    """Predict one flower."""
    row = [measurement.sepal_length, measurement.sepal_width, measurement.petal_length, measurement.petal_width]
    iris_type = int(pipeline.predict([row])[0])
    return Prediction(iris_type=iris_type, species=SPECIES[iris_type])


@app.get("/health")
def health() -> dict[str, str]:
    """Answer as long as the server can serve."""
    return {"status": "ok"}

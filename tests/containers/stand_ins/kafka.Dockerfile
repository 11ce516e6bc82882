# Stands in for apache/kafka: the published jars and their own set-up program, on the Java of the embedded Kafka.
ARG BASE
FROM ${BASE}
COPY java /opt/java
COPY libs /opt/kafka/libs
COPY kafka_run.sh /etc/kafka/docker/run
COPY kafka_answers.py /opt/kafka/bin/kafka-broker-api-versions.sh
COPY log4j2.yaml /etc/kafka/docker/log4j2.yaml
COPY log4j2.yaml /etc/kafka/docker/tools-log4j2.yaml
RUN useradd --uid 1000 appuser && touch /etc/kafka/docker/server.properties \
    && chmod +x /etc/kafka/docker/run /opt/kafka/bin/kafka-broker-api-versions.sh \
    && install -d -o appuser /opt/kafka/config /mnt/shared/config /var/lib/kafka/data
USER 1000
LABEL iris.stand-in=true
CMD ["/etc/kafka/docker/run"]

#!/bin/bash
# The environment becomes server.properties, an empty disk is formatted, one that is formatted is left as it is.
java=(/opt/java/bin/java -cp '/opt/kafka/libs/*')
export CLUSTER_ID=${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}
folders=(--default-configs-dir /etc/kafka/docker --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config)
if ! said=$("${java[@]}" kafka.docker.KafkaDockerWrapper setup "${folders[@]}" 2>&1) && [[ $said != *"already formatted"* ]]; then
    echo "$said"
    exit 1
fi
# shellcheck disable=SC2086  # options are words
exec "${java[@]}" ${KAFKA_HEAP_OPTS:-} kafka.Kafka /opt/kafka/config/server.properties

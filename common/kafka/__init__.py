"""What the programs of stages 4 and 5 share to talk to Kafka."""

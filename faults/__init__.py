"""What is lost and what is doubled when something fails: each fault, on purpose, with real processes and a real Kafka.

`python -m faults --quick` tries each fault once or a few times; without it, at least 20 kills per point.
"""

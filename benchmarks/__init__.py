"""Measurements of the six stages, each beside what is possible on the same machine in the same run."""

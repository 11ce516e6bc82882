"""Results in a store: read from the topic once, written once."""

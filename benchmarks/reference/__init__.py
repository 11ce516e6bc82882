"""The fixed references: they share no code with the stages, so that getting better never moves the bar."""

"""The guided walk through all six stages, and the commands that leave everything running and end it again."""

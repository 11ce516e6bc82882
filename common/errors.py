"""The one kind of error that ends a program: its message is a line for the user, never a traceback."""


class ProgramError(Exception):
    """Something outside the program is wrong; the message says what, and what to do about it."""

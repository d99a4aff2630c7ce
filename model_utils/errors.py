"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""


class InputError(ValueError):
    """Something a user gave (a file, a row, a value) cannot be used.

    The message is a single line that names the file (and line), the value and what was expected.
    Entry points print it and exit with status 1; anything else that escapes is a bug and keeps its traceback.
    """

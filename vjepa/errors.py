"""The one exception for input that a person can mend."""


class InputError(ValueError):
    """Bad input: the message is one sentence that says what is wrong and what to do.

    The command line prints it and exits with code 2; the app shows it and stays usable.
    """

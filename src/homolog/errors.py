"""The one error users meet."""


class HomologError(ValueError):
    """A wrong argument or an unusable input.

    The message is one line that names the argument, what was given and what is taken. The
    command prints that line alone and exits with status 2.
    """

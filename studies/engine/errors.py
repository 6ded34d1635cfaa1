"""The one exception that reaches a user as a single sentence."""


class UserError(Exception):
    """Something the user can put right; its message is one sentence, printed without a traceback.

    The command line ends with exit code 2 after printing it.
    """

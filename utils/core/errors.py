"""Errors that a user can cause: the message is the one line that is shown, without a traceback."""


class UserError(Exception):
    """Something the user can put right; `str(error)` says what, where and what to do."""


class ConfigError(UserError):
    """A configuration file, key or command-line value that can't be used."""


class WeightsError(UserError):
    """A weights or checkpoint file that is missing, unsafe, damaged or of another network."""


class MediaError(UserError):
    """A video or an image that can't be judged: unreadable, empty, not what its name says."""


class DataError(UserError):
    """Training data or tables that can't be used: missing columns, missing crops, too many broken ones."""

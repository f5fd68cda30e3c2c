"""The one exception of this package."""


class FormatError(ValueError):
    """Bytes or text do not follow their format; the message names the field.

    Every decoder of the package raises this (or a subclass) on bad input and nothing else.
    """

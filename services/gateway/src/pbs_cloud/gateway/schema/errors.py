"""What is wrong with the parameters of a request (rest-api A.6)."""

from __future__ import annotations

from collections.abc import Mapping

from pbs_cloud.contracts.errors import InvalidArgument

MISSING_TEXT = "parameter is missing and it is not optional."
MISSING_JSON = "property is missing and it is not optional"
UNKNOWN_TEXT = "schema does not allow additional properties."
UNKNOWN_JSON = "schema does not allow additional properties"
DUPLICATE = "duplicate parameter."
PATTERN = "value does not match the regex pattern"


class Invalid(Exception):
    """One value is wrong; the text is the reason without the parameter's name."""


class ParameterErrors(InvalidArgument):
    """All parameters of a request that are wrong. ``errors``: name -> reason, sorted by name."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(sorted(errors.items()))
        first = next(iter(self.errors))
        if len(self.errors) == 1:
            message = f"parameter verification failed - '{first}': {self.errors[first]}"
        else:
            message = "parameter verification failed:\n" + "\n".join(f"- '{k}': {v}" for k, v in self.errors.items())
        super().__init__(message, field=first)

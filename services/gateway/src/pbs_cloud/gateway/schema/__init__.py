"""Typed parameter schemas: parsing, error texts, documentation and OpenAPI follow from them (rest-api A.3, A.4).

No web framework and no IO in here: REST, upgrades and the requests inside sessions share it.
"""

from pbs_cloud.gateway.schema.errors import ParameterErrors
from pbs_cloud.gateway.schema.parse import FORM_TYPE, JSON_TYPE, parse_json_object, parse_query, parse_request
from pbs_cloud.gateway.schema.types import (
    Array,
    Boolean,
    Enum,
    Integer,
    Param,
    PropertyString,
    Schema,
    String,
    Type,
    optional,
    required,
)

__all__ = [
    "FORM_TYPE",
    "JSON_TYPE",
    "Array",
    "Boolean",
    "Enum",
    "Integer",
    "Param",
    "ParameterErrors",
    "PropertyString",
    "Schema",
    "String",
    "Type",
    "optional",
    "parse_json_object",
    "parse_query",
    "parse_request",
    "required",
]

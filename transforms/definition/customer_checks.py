"""Checks what a definition says about the brand's customer files.

Belongs here: the table `[customers]`. Does not belong here: its keys and their types
(`definition`), and reading the files (`flows.files.customer_files`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from transforms.activity.accepted import listed_columns
from transforms.conditions.condition import condition
from transforms.definition.places import Key
from transforms.definition.source_checks import (
    Faulty,
    check_column_name,
    check_files,
    check_format,
    check_time_format,
    check_timezone,
)
from transforms.errors import RetrobadgeError, near

if TYPE_CHECKING:
    from transforms.definition.definition import Customers

_REQUIRED = ("identifier", "customer_id")
_TYPED = (*_REQUIRED, "survivor_id", "enrolled_at")
_COUNTRY = re.compile(r"[1-9][0-9]{0,2}")


def check_customers(customers: Customers, faulty: Faulty) -> None:
    """Report what is wrong with `[customers]`."""
    at: Key = ("customers",)
    check_files(customers.files, (*at, "files"), faulty)
    if customers.exclude:
        check_files(customers.exclude, (*at, "exclude"), faulty)
    if customers.timezone is not None:
        check_timezone(customers.timezone, (*at, "timezone"), faulty)
    check_format(customers.format, at, faulty)
    style = customers.enrolled_at_format
    check_time_format(style, (*at, "enrolled_at_format"), faulty)
    _check_columns(customers, faulty)
    _check_country(customers, faulty)
    _check_where(customers, faulty)


def _check_columns(customers: Customers, faulty: Faulty) -> None:
    at: Key = ("customers", "columns")
    for name in _REQUIRED:
        if name not in customers.columns:
            message = f"'{name}' is missing: say which column of the file it is"
            faulty("missing_key", message, (*at, name))
    for name, theirs in customers.columns.items():
        check_column_name(name, (*at, name), faulty)
        if not theirs:
            faulty("wrong_value", "name a column of the file", (*at, name))
        if not customers.format.header and not re.fullmatch("[1-9][0-9]{0,4}", theirs):
            message = "format.header is false: columns are named by position, '1', '2'"
            faulty("wrong_value", message, (*at, name))
    for name in customers.types:
        key: Key = ("customers", "types", name)
        if name in _TYPED:
            faulty("wrong_value", f"'{name}' has a type of its own: remove it", key)
        elif name not in customers.columns:
            close = near(name, customers.columns)
            faulty("wrong_value", f"'{name}' is not one of the columns{close}", key)


def _check_country(customers: Customers, faulty: Faulty) -> None:
    code = customers.country_code
    if code is None:
        return
    if customers.identifier != "mobile":
        message = f"goes with identifier = 'mobile', not '{customers.identifier}'"
        faulty("wrong_value", message, ("customers", "country_code"))
    elif _COUNTRY.fullmatch(code) is None:
        message = f"'{code}' is no country code: write its digits, such as \"91\""
        faulty("wrong_value", message, ("customers", "country_code"))


def _check_where(customers: Customers, faulty: Faulty) -> None:
    if customers.where is None:
        return
    key: Key = ("customers", "where")
    columns = listed_columns(customers)
    try:
        condition(customers.where, columns, place="customers.where", amount_decimals=0)
    except RetrobadgeError as error:
        for fault in error.faults:
            faulty(fault.code, fault.message, key)

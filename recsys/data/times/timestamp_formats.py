"""What `timestamp_format` may say: a strptime format, or the name of a way to read dates."""

import datetime as dt

DAY_FIRST, MONTH_FIRST = "day_first", "month_first"
#: Texts may have any spelling, and dates such as `12/1/2010` have this order.
ORDER_FORMATS = (MONTH_FIRST, DAY_FIRST)
#: Numbers are counted from 1970 in one unit, or are the days of a spreadsheet.
NUMBER_FORMATS = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "excel")


def check_timestamp_format(text: str) -> str:
    """The format itself.

    Raises:
        ValueError: it is neither a name nor a strptime format.
    """
    names = (*ORDER_FORMATS, *NUMBER_FORMATS)
    if text in names:
        return text
    way_out = f"write a strptime format such as '%d/%m/%Y %H:%M', or one of {', '.join(names)}"
    if "%" not in text:
        raise ValueError(f"{text!r} names no part of a date; {way_out}")
    try:
        dt.datetime.strptime("", text)  # noqa: DTZ007 - only the format is of interest
    except ValueError as error:
        if "does not match format" not in str(error):
            raise ValueError(f"{error}; {way_out}") from error
    return text

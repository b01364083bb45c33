"""Whatever finish() returns can be sent and shown."""

import datetime
import json
import math
from typing import Any

import numpy as np
import pytest

from microbox.channel.channel import MESSAGE_LIMIT
from microbox.nf.summary import ITEMS_MAX, TEXT_MAX, VALUES_MAX, as_plain


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (7, 7),
        (True, True),
        (None, None),
        (1.5, 1.5),
        ("größe", "größe"),
        (np.uint64(7), 7),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (b"a\xff", "a\\xff"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (2**70, "1180591620717411303424"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ({1: {2: b"x"}}, {"1": {"2": "x"}}),
    ],
)
def test_values_become_plain(value: Any, plain: Any) -> None:
    assert as_plain({"value": value}) == {"value": plain}


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


LARGE: dict[str, Any] = {
    "text": "x" * 10 * TEXT_MAX,
    "texts": ["ö" * TEXT_MAX] * 100,
    "range": range(3),
    "list": list(range(10 * ITEMS_MAX)),
    "deep": nested(500),
    "wide": [list(range(ITEMS_MAX))] * ITEMS_MAX,
    "mapping": {number: number for number in range(10 * ITEMS_MAX)},
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_no_summary_is_too_large_or_too_deep(value: Any) -> None:
    text = json.dumps(as_plain({"value": value}), allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) < MESSAGE_LIMIT
    assert text.count(",") <= VALUES_MAX

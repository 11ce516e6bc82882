"""Task ids: a UUID4 each, also those of a batch, which all follow from the batch's own id.

So a batch that is sent again under the same key has the same tasks, whichever gateway it comes to, and the page of a
batch needs nothing but the batch's id and its size.
"""

import hashlib
import re
from random import getrandbits

_uuid4 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def is_uuid4(text: str) -> bool:
    """Return whether this is a UUID4 as it is written usually, in lower case."""
    return _uuid4(text) is not None


def new_id() -> str:
    """Return a new one; `uuid.uuid4()` would ask the operating system each time."""
    return _written(f"{getrandbits(128):032x}")


def batch_ids(batch_id: str, count: int) -> list[str]:
    """Return the ids of a batch's tasks, always the same ones. A smaller batch has the first of them.

    >>> batch_ids("5f0c6b0e-6b2c-4c5a-9d0e-1f2a3b4c5d6e", 1)
    ['2c832031-7408-421d-94c1-91d705cbb0ba']
    """
    digits = hashlib.shake_128(batch_id.encode("ascii")).hexdigest(16 * count)
    return [_written(digits[start : start + 32]) for start in range(0, 32 * count, 32)]


def _written(h: str) -> str:
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{VARIANT[h[16]]}{h[17:20]}-{h[20:]}"

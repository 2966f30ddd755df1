"""When a failed request is sent again."""

from __future__ import annotations

import random
import threading
import time

_BASE_DELAY = 0.1  # seconds, as all below
_MAX_DELAY = 10.0
_MAX_RETRY_AFTER = 120.0


def delay(attempt: int, retry_after: float) -> float | None:
    """Return the seconds to wait after an attempt, or None if the server wants too long a wait.

    The delay is random, so that clients that failed together do not come back together.
    """
    if retry_after > _MAX_RETRY_AFTER:
        return None
    if retry_after > 0:
        return retry_after + random.uniform(0, _BASE_DELAY)
    return random.uniform(0, min(_BASE_DELAY * 2 ** min(attempt - 1, 32), _MAX_DELAY))


class Budget:
    """Bounds the load that retries add, so that they do not make an outage worse.

    A retry takes a token. A success adds a tenth of a token, and so does every second. There are
    at most ten.
    """

    _MOST = 10.0
    _PER_SUCCESS = 0.1
    _PER_SECOND = 0.1

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = self._MOST
        self._at = time.monotonic()  # when there were that many

    def take(self) -> bool:
        """Take the token for a retry. Report whether there was one."""
        with self._lock:
            now = time.monotonic()
            self._add((now - self._at) * self._PER_SECOND)
            self._at = now
            if self._tokens < 1 - 1e-9:  # ten tenths are a little less than one
                return False
            self._tokens = max(self._tokens - 1, 0.0)
            return True

    def succeeded(self) -> None:
        """Add the tokens of a success."""
        with self._lock:
            self._add(self._PER_SUCCESS)

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._tokens + tokens, self._MOST)

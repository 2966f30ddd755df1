"""Calls of the API: what is sent, what comes back, and how often it is tried."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
import uuid
from typing import Callable, TypeVar
from urllib.parse import urlsplit

from . import _retry
from ._network import Network, NetworkError
from ._version import __version__
from .errors import APIError, ResponseError, parse_error

_T = TypeVar("_T")

_logger = logging.getLogger("docsapi")


class Transport:
    """Sends the requests of a client, and sends them again where that is right."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        max_attempts: int,
        timeout: float,
        total_timeout: float | None,
    ) -> None:
        if not _is_text("[!-~]+", api_key):
            raise ValueError("api_key must be a text of visible ASCII characters")
        if max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")
        self._base_url, self._host = _checked_url(base_url)
        self._max_attempts = max_attempts
        self._timeout = _checked_timeout("timeout", timeout)
        self._total_timeout = math.inf
        if total_timeout is not None:
            self._total_timeout = _checked_timeout("total_timeout", total_timeout)
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {api_key}",
            "User-Agent": f"docsapi-python/{__version__}",
        }
        self._network = Network()
        self._budget = _retry.Budget()

    def call(
        self,
        method: str,
        path: str,
        parse: Callable[[object], _T],
        body: object = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> _T:
        """Send a request, and return what parse makes of the JSON in the response.

        All attempts of a write have the same Idempotency-Key. parse raises a ValueError if the JSON
        is not what the API sends.
        """
        timeout = self._timeout if timeout is None else _checked_timeout("timeout", timeout)
        deadline = time.monotonic() + self._total_timeout
        headers = dict(self._headers)
        if method != "GET":
            headers["Idempotency-Key"] = _checked_key(idempotency_key)
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        attempt = 1
        while True:
            try:
                left = max(deadline - time.monotonic(), 0.001)  # sleep may wake up a little late
                result = self._attempt(method, path, parse, headers, data, min(timeout, left))
            except (ResponseError, NetworkError) as err:
                delay = self._delay(err, attempt, deadline)
                self._log(method, attempt, err, delay)
                if delay is None:
                    raise
            else:
                self._budget.succeeded()
                return result
            time.sleep(delay)
            attempt += 1

    def _attempt(
        self,
        method: str,
        path: str,
        parse: Callable[[object], _T],
        headers: dict[str, str],
        data: bytes | None,
        timeout: float,
    ) -> _T:
        response = self._network.send(method, self._base_url + path, headers, data, timeout)
        error = parse_error(response.status, response.headers, response.body)
        if error is not None:
            raise error
        try:
            if not 200 <= response.status < 300:
                raise ValueError("redirects are not followed")
            # A long integer takes long to read, a long float does not. The API has neither.
            return parse(json.loads(response.body, parse_int=float))
        except (ValueError, RecursionError) as err:
            raise APIError(
                f"The server answered with status {response.status}, but not as the API does: {err}.",
                status=response.status,
                request_id=response.headers.get("Request-Id", "")[:128] or None,
            ) from None

    def _delay(
        self, err: ResponseError | NetworkError, attempt: int, deadline: float
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is none."""
        if not err.retryable or attempt >= self._max_attempts:
            return None
        retry_after = err.retry_after if isinstance(err, ResponseError) else 0.0
        delay = _retry.delay(attempt, retry_after)
        if delay is None or time.monotonic() + delay >= deadline or not self._budget.take():
            return None
        return delay

    def _log(
        self, method: str, attempt: int, err: ResponseError | NetworkError, delay: float | None
    ) -> None:
        """Log a failure, but not the message in a response: it may quote the body."""
        if isinstance(err, ResponseError):
            code = (err.code or err.type)[:64]
            what = f"status={err.status} code={code!r} request_id={err.request_id!r}"
        else:
            what = f"error={type(err.__cause__).__name__}"
        if delay is not None:
            what += f" delay={delay:.3f}"
        _logger.warning(
            "%s: method=%s host=%s attempt=%d %s",
            "request failed" if delay is None else "retrying request",
            method,
            self._host,
            attempt,
            what,
        )


def _is_text(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _checked_url(base_url: str) -> tuple[str, str]:
    """Return the URL without a slash at its end, and its host."""
    if _is_text("https?://((?![@?#])[!-~])+", base_url):
        parts = urlsplit(base_url)
        if parts.hostname and parts.hostname.encode("idna") and parts.port != 0:
            return base_url.rstrip("/"), parts.netloc
    raise ValueError("base_url must be an http or https URL without user, query and fragment")


def _checked_timeout(name: str, seconds: float) -> float:
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"{name} must be a positive number of seconds")
    return seconds


def _checked_key(key: str | None) -> str:
    if key is None:
        return str(uuid.uuid4())
    if not _is_text("[!-~]{1,255}", key):
        raise ValueError("idempotency_key must have 1 to 255 visible ASCII characters")
    return key

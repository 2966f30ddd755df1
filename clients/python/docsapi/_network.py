"""Single HTTP exchanges: one request, and at most one response."""

from __future__ import annotations

import functools
import http.client
import io
import socket
import ssl
import time
import urllib.error
import urllib.request
from email.message import Message
from typing import Any, NamedTuple

_MAX_BODY = 32 << 20  # bytes
_MAX_ERROR_BODY = 64 << 10  # what errors.py examines
_MAX_RESPONSE = 33 << 20  # with its header, its trailer and all that http.client skips


class NetworkError(Exception):
    """There is no complete response. The server may or may not have carried out the request.

    Its __cause__ is the error of the network.

    Attributes:
        retryable: Whether a retry may succeed. It is False if the certificate is not trusted.
    """

    retryable = True


class RequestTimeoutError(NetworkError, TimeoutError):
    """The response was not complete in time."""


class Response(NamedTuple):
    """A response with its body, as far as it was read."""

    status: int
    headers: Message
    body: bytes


class Network:
    """Sends requests with urllib, through the proxies that the environment names.

    Every response is returned, whatever its status. In particular, no redirect is followed: urllib
    would send the API key to any other host, and repeat a POST as a GET.
    """

    def __init__(self) -> None:
        self._opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), _Handler()):
            self._opener.add_handler(handler)

    def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, timeout: float
    ) -> Response:
        """Send a request once. Raise a NetworkError if there is no complete response."""
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return Response(response.status, response.headers, _read(response))
        except _BROKEN as err:
            raise _network_error(err) from _cause(err)


# What urllib raises if there is no response, or a part of one, or nonsense.
_BROKEN = (OSError, http.client.HTTPException, ValueError)


def _network_error(err: Exception) -> NetworkError:
    cause = _cause(err)
    late = isinstance(cause, (TimeoutError, socket.timeout))  # the same since Python 3.10
    kind = RequestTimeoutError if late else NetworkError
    error = kind(f"No complete response arrived: {repr(cause)[:200]}")
    error.retryable = not isinstance(cause, ssl.SSLCertVerificationError)
    return error


def _cause(err: Exception) -> Exception:
    reason = err.reason if isinstance(err, urllib.error.URLError) else err
    return reason if isinstance(reason, Exception) else err


def _read(response: http.client.HTTPResponse) -> bytes:
    """Read the body of a response, up to a limit that is a little over what is used.

    The status of a failure counts more than its body, so a part of that body is enough.
    """
    failed = response.status >= 400
    body = bytearray()
    try:
        while len(body) <= (_MAX_ERROR_BODY if failed else _MAX_BODY):
            piece = response.read(64 << 10)
            if not piece:
                if response.length:  # http.client does not say that the body has ended early
                    raise http.client.IncompleteRead(bytes(body), response.length)
                break
            body += piece
    except _BROKEN:
        if not failed:
            raise
    return bytes(body)


class _Connection(http.client.HTTPConnection):
    """A connection whose timeout is the time for everything.

    The timeout of a socket is the time for one read. A server that sends a byte from time to time
    would never exceed it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connected = False
        self._deadline = time.monotonic() + (self.timeout or 0)
        self.response_class = functools.partial(_Response, self._deadline)  # type: ignore[assignment]

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_time_left(self._deadline))
        self._connected = True

    def send(self, data: Any) -> None:
        try:
            super().send(data)
        except (BrokenPipeError, ConnectionResetError):
            if not self._connected:
                raise
            # The server may have sent a response, such as 413, and closed before the body's end.


class _SecureConnection(_Connection, http.client.HTTPSConnection):
    pass


class _Handler(urllib.request.AbstractHTTPHandler):
    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=self._tls)

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()  # it takes long, and http does not need it


class _Response(http.client.HTTPResponse):
    def __init__(self, deadline: float, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._reader = _Reader(self.fp.detach(), sock, deadline)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the header of the final response. http.client skips 100, but not 103 and others."""
        super().begin()
        while self.status < 200:
            self.headers = None  # type: ignore[assignment]  # otherwise begin does nothing
            super().begin()
        if self._reader.ended:  # http.client takes a part of a header for all of it
            raise http.client.HTTPException("the header is incomplete")


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline, up to a number of bytes."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw, self._sock, self._deadline, self._left = raw, sock, deadline, _MAX_RESPONSE
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_time_left(self._deadline))
        count = self._raw.readinto(buffer)
        self.ended = count == 0
        self._left -= count or 0
        if self._left < 0:
            raise http.client.HTTPException("the response is too long")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left

"""The methods of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable, cast
from urllib.parse import quote, urlencode

from ._transport import Transport


class Client:
    """A client of the API. Threads can share it.

    Args:
        api_key: The key that authenticates every request.
        base_url: Where the API is.
        max_attempts: How often a request is sent at most, including the first time.
        timeout: The seconds for each attempt, from the connection to the last byte of the response.
            The lookup of the host's name does not count. If the host has several addresses, each
            that does not answer takes as long.
        total_timeout: The seconds for a call with all its attempts. If None, there is no limit.

    A ValueError says which argument is not valid.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = "http://localhost:8080",
        max_attempts: int = 3,
        timeout: float = 30.0,
        total_timeout: float | None = None,
    ) -> None:
        transport = Transport(api_key, base_url, max_attempts, timeout, total_timeout)
        self.resources = Resources(transport)


@dataclass(frozen=True)
class Resource:
    """A resource, as the API returned it."""

    id: str
    name: str
    metadata: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class Page:
    """A page of a list. Iteration continues through all further pages, and requests them.

    Attributes:
        data: The resources of this page.
        next_cursor: The cursor of the next page. It is None on the last page.
    """

    data: Sequence[Resource]
    next_cursor: str | None
    _get: Callable[[str], Page] = field(repr=False, compare=False)

    def __iter__(self) -> Iterator[Resource]:
        page = self
        yield from page.data
        while page.next_cursor is not None:
            page = page._get(page.next_cursor)
            yield from page.data


class Resources:
    """The resources of an account: the attribute resources of a Client.

    A method raises a ResponseError for an error response, and a NetworkError if there is no
    response. Its timeout replaces that of the client.

    A method that writes sends an Idempotency-Key, so that its retries do not write twice. Bring
    your own key if you may call the method again for the same write, for example after a restart.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        name: str,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Resource:
        """Create a resource."""
        body = _given(name=name, metadata=metadata)
        return self._transport.call(
            "POST", "/v1/resources", _resource, body, idempotency_key, timeout
        )

    def get(self, id: str, *, timeout: float | None = None) -> Resource:
        """Return a resource."""
        return self._transport.call("GET", _path(id), _resource, timeout=timeout)

    def update(
        self,
        id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Resource:
        """Replace the name or the metadata of a resource, or both. What is None is kept."""
        body = _given(name=name, metadata=metadata)
        return self._transport.call("PATCH", _path(id), _resource, body, idempotency_key, timeout)

    def delete(
        self, id: str, *, idempotency_key: str | None = None, timeout: float | None = None
    ) -> None:
        """Delete a resource."""
        self._transport.call("DELETE", _path(id), _deleted, None, idempotency_key, timeout)

    def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        timeout: float | None = None,
    ) -> Page:
        """Return a page of resources, in the order in which they were created.

        To visit the resources of all pages, iterate over the page. The limit is the number of
        resources in a page.
        """
        query = urlencode(_given(limit=limit, cursor=cursor))

        def page(value: object) -> Page:
            members = _object(value)
            data, following = members.get("data"), members.get("next_cursor") or None
            if not isinstance(data, list) or not isinstance(following, (str, type(None))):
                raise ValueError("this is not a page")
            return Page([_resource(v) for v in cast("list[object]", data)], following, get)

        def get(cursor: str) -> Page:
            return self.list(limit=limit, cursor=cursor, timeout=timeout)

        path = "/v1/resources" + ("?" + query if query else "")
        return self._transport.call("GET", path, page, timeout=timeout)


def _path(id: str) -> str:
    if not isinstance(id, str) or id in ("", ".", ".."):  # the path of something else
        raise ValueError(f"{id!r} is not the id of a resource")
    return "/v1/resources/" + quote(id, safe="")


def _given(**arguments: object) -> dict[str, object]:
    """Return the arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("this is not an object")
    return cast("dict[str, object]", value)


def _resource(value: object) -> Resource:
    members = _object(value)
    id, name = members.get("id"), members.get("name")
    if not isinstance(id, str) or not isinstance(name, str):
        raise ValueError("this is not a resource")
    metadata = _object(members.get("metadata"))
    return Resource(id, name, {k: v for k, v in metadata.items() if isinstance(v, str)})


def _deleted(value: object) -> None:
    if _object(value).get("deleted") is not True:
        raise ValueError("nothing was deleted")

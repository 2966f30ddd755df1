"""A client of Docs API, the example API of Seawall.

    import docsapi

    client = docsapi.Client("sk_test_demo")
    resource = client.resources.create(name="A first resource")

A failed request raises a ResponseError, of the class of its type, such as RateLimitError. A request
without a response raises a NetworkError.
"""

from ._client import Client, Page, Resource, Resources
from ._network import NetworkError, RequestTimeoutError
from ._version import __version__
from .errors import (
    APIError,
    AuthenticationError,
    Code,
    Field,
    IdempotencyError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
)

__all__ = [
    "Client",
    "Resources",
    "Resource",
    "Page",
    "ResponseError",
    "InvalidRequestError",
    "AuthenticationError",
    "PermissionDeniedError",
    "IdempotencyError",
    "RateLimitError",
    "APIError",
    "NetworkError",
    "RequestTimeoutError",
    "Code",
    "Field",
]

"""Uses the client as a program does that is checked strictly. A comment says which lines are wrong."""

from __future__ import annotations

import docsapi

client = docsapi.Client("sk_test_demo", base_url="http://localhost:8080", max_attempts=2, timeout=5)
resource: docsapi.Resource = client.resources.create(name="first", metadata={"k": "v"})
names: list[str] = [r.name for r in client.resources.list(limit=10)]
cursor: str | None = client.resources.list().next_cursor
value: str = client.resources.get(resource.id, timeout=1.5).metadata["k"]
client.resources.update(resource.id, name="n", idempotency_key="order-1")


def describe(err: docsapi.ResponseError) -> tuple[int, str | None, str | None, float]:
    return err.status, err.code, err.request_id, err.retry_after


try:
    client.resources.delete(resource.id)
except docsapi.RateLimitError as err:
    describe(err)
except docsapi.RequestTimeoutError as err:
    print(err.retryable)
except docsapi.NetworkError as err:
    print(err.__cause__)
known: docsapi.Code = "parameter_missing"

client.resources.create()  # wrong
client.resources.create(nmae="first")  # wrong
client.resources.create(name=1)  # wrong
client.resources.list(limit="10")  # wrong
resource.name = "n"  # wrong
number: int = resource.id  # wrong
known = "parameter_mising"  # wrong
docsapi.Client()  # wrong

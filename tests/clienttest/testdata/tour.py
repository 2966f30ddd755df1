"""Uses each method once, and prints what it returns: tour.py URL"""

import sys

import docsapi

url = sys.argv[1]
resources = docsapi.Client("sk_test_demo", base_url=url).resources
first = resources.create(name="first", metadata={"color": "blue"})
print(first.name, first.metadata)
print(resources.get(first.id) == first)
print(resources.update(first.id, name="renamed"))
for name in ("b", "c", "d"):
    last = resources.create(name=name, idempotency_key=f"order-{name}")
print(resources.create(name="d", idempotency_key="order-d") == last)
try:
    resources.create(name="e", idempotency_key="order-d")
except docsapi.IdempotencyError as err:
    print(err.status, err.code)
page = resources.list(limit=3)
print([r.name for r in page.data], page.next_cursor is not None)
page = resources.list(limit=3, cursor=page.next_cursor)
print([r.name for r in page.data], page.next_cursor)
print(resources.delete(first.id))
try:
    resources.get(first.id)
except docsapi.InvalidRequestError as err:
    print(err.status, err.code)
print([r.name for r in resources.list(limit=2)])
for key, kind in (
    ("sk_test_readonly", docsapi.PermissionDeniedError),
    ("sk_test_revoked", docsapi.AuthenticationError),
):
    try:
        docsapi.Client(key, base_url=url).resources.create(name="first")
    except kind as err:
        print(err.status, err.code)

"""Creates resources at the same time, and prints what came of it: create.py URL NAME..."""

import concurrent.futures
import json
import logging
import re
import sys

import docsapi

url, *names = sys.argv[1:]
failures = []


class Handler(logging.Handler):
    def emit(self, record):
        found = re.search(r" code='(\w+)' request_id='req_", record.getMessage())
        failures.append(found[1] if found else "no response")


logging.getLogger("docsapi").addHandler(Handler())
client = docsapi.Client("sk_test_demo", base_url=url)


created, denied = {}, {}


def create(name):
    try:
        created[name] = client.resources.create(name=name).id
    except docsapi.RateLimitError as err:
        denied[name] = err.code


with concurrent.futures.ThreadPoolExecutor(len(names)) as threads:
    list(threads.map(create, names))
failed = list(failures)
listed = {r.name: r.id for r in docsapi.Client("sk_test_demo", base_url=url).resources.list(limit=100)}
print(json.dumps({"created": created, "denied": denied, "listed": listed, "failures": failed}))

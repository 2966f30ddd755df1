"""Creates resources at the same time, and prints what happened to each: create.py URL NAME..."""

import concurrent.futures
import json
import logging
import sys

import docsapi

url, *names = sys.argv[1:]
failures = []


class Handler(logging.Handler):
    def emit(self, record):
        failures.append(record.getMessage())


logging.getLogger("docsapi").addHandler(Handler())
client = docsapi.Client("sk_test_demo", base_url=url)


def create(name):
    try:
        return client.resources.create(name=name).id
    except docsapi.RateLimitError as err:
        return err.code


with concurrent.futures.ThreadPoolExecutor(len(names)) as threads:
    outcomes = dict(zip(names, threads.map(create, names)))
failed = list(failures)
listed = {r.name: r.id for r in docsapi.Client("sk_test_demo", base_url=url).resources.list()}
print(json.dumps({"outcomes": outcomes, "listed": listed, "failures": failed}))

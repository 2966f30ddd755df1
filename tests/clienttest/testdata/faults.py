"""Prints how the client sees each kind of fault: faults.py URL KIND..."""

import concurrent.futures
import json
import sys

import docsapi

url, *kinds = sys.argv[1:]


def see(kind):
    try:
        docsapi.Client("sk_test_demo", base_url=url).resources.get(f"fault_{kind}")
    except docsapi.ResponseError as err:
        return {
            "class": type(err).__name__,
            "status": err.status,
            "code": err.code,
            "type": err.type,
            "requestId": err.request_id,
            "docUrl": err.doc_url,
            "retryable": err.retryable,
        }


with concurrent.futures.ThreadPoolExecutor(len(kinds)) as threads:
    print(json.dumps(dict(zip(kinds, threads.map(see, kinds)))))

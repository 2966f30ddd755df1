"""Reads the responses in a file as errors.py does: read.py FOLDER-OF-ERRORS.PY VECTORS.JSON"""

import base64
import copy
import http.client
import json
import pickle
import sys

sys.path.insert(0, sys.argv[1])
import errors  # noqa: E402


def seen(err):
    """Return an error as the test compares it."""
    if err is None:
        return None
    for other in (pickle.loads(pickle.dumps(err)), copy.copy(err), copy.deepcopy(err)):
        assert type(other) is type(err) and vars(other) == vars(err) and str(other) == str(err), other
        assert other.args == err.args == (err.message,)
    str(err).encode("utf-8")
    assert isinstance(err, errors.ResponseError)
    return {
        "class": type(err).__name__,
        "type": err.type,
        "code": err.code or "",
        "message": err.message,
        "param": err.param or "",
        "status": err.status,
        "request_id": err.request_id or "",
        "retry_after": err.retry_after,
        "retryable": err.retryable,
        "doc_url": err.doc_url or "",
        "errors": [e._asdict() for e in err.errors],
        "metadata": err.metadata,
        "text": str(err),
    }


def raised(*response):
    try:
        errors.raise_if_error(*response)
    except errors.ResponseError as err:
        return err
    return None


results = []
with open(sys.argv[2], encoding="utf-8") as file:
    vectors = json.load(file)
for vector in vectors:
    body = base64.b64decode(vector["body"])
    message, plain = http.client.HTTPMessage(), {}
    lists = {"Request-Id": None, "Retry-After": [None], "Content-Type": ()}
    for name, value in vector["header"]:
        message[name] = value
        lower = name.lower()
        plain[lower] = plain[lower] + ", " + value if lower in plain else value
        lists.setdefault(name.upper(), []).append(value)
    results.append(
        [
            seen(errors.parse_error(vector["status"], message, body)),
            seen(errors.parse_error(vector["status"], lists, bytearray(body))),
            seen(raised(vector["status"], plain, body.decode("utf-8", "replace"))),
        ]
    )
output = json.dumps(results, ensure_ascii=False)
sys.stdout.buffer.write(output.encode("utf-8"))  # which refuses surrogates

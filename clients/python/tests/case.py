"""A server that answers as a test says, and the base class of the tests that call it."""

import gc
import http.server
import json
import logging
import os
import sys
import threading
import unittest
import warnings
from unittest import mock

import docsapi

KEY = "sk_test_secret"
RESOURCE = {"id": "res_1", "name": "A name", "metadata": {"k": "v"}}


def answer(status, body=b"", *headers, **more):
    """Answer with a status, a body and headers, which are pairs. An object becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(handler):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(more.get("length", len(content))))
        handler.end_headers()
        handler.wfile.write(content)

    return send


def raw(content):
    """Answer with these bytes, and close the connection."""
    return lambda handler: handler.wfile.write(content)


def endless(start, piece):
    """Answer with some bytes, and then with others until the client leaves."""

    def send(handler):
        handler.wfile.write(start)
        while True:
            handler.wfile.write(piece)

    return send


def failure(status, *headers, **members):
    """Answer with an error object."""
    error = {"type": "api_error", "code": "api_error", "message": "m", "request_id": "req_1"}
    return answer(status, {"error": {**error, **members}}, *headers)


OK = answer(200, RESOURCE)


class Request:
    def __init__(self, handler):
        self.method, self.path, self.headers = handler.command, handler.path, handler.headers
        length = int(handler.headers.get("Content-Length", 0))
        self.body = handler.rfile.read(length) if handler.server.reads else b""

    @property
    def key(self):
        return self.headers["Idempotency-Key"]


class Server(http.server.ThreadingHTTPServer):
    """Gives its answers one after another. The last one is given from then on."""

    request_queue_size = 128
    reads = True  # the bodies of requests

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests, self.lock = list(answers), [], threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.002,))
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the client has left
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        request = Request(self)
        with self.server.lock:
            self.server.requests.append(request)
            answers = self.server.answers
            give = answers.pop(0) if len(answers) > 1 else answers[0]
        give(self)
        self.close_connection = True

    def log_message(self, *args):
        pass


class Case(unittest.TestCase):
    """Sleeps without waiting, and fails if a connection is left open."""

    maxDiff = None

    def setUp(self):
        self.sleeps = []
        self.jitter = 0.0  # how much of the largest jitter is taken
        self.patch("time.sleep", self.sleeps.append)
        self.patch("random.uniform", lambda low, high: low + (high - low) * self.jitter)
        environ = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.addCleanup(mock.patch.stopall)
        mock.patch.dict(os.environ, environ, clear=True).start()
        logger = logging.getLogger("docsapi")
        logger.setLevel(logging.CRITICAL)
        self.addCleanup(logger.setLevel, logging.NOTSET)
        filters = warnings.catch_warnings()
        filters.__enter__()
        self.addCleanup(filters.__exit__, None, None, None)
        warnings.simplefilter("error")
        left = []
        self.patch("sys.unraisablehook", left.append)
        self.addCleanup(self.assertEqual, left, [])
        self.addCleanup(gc.collect)

    def patch(self, target, replacement):
        mock.patch(target, replacement).start()

    def serve(self, *answers):
        """Start a server with these answers."""
        server = Server(*answers)
        self.addCleanup(server.stop)
        return server

    def client(self, server, **options):
        return docsapi.Client(KEY, base_url=server.url, **options)

    def call(self, *answers, **options):
        """Get a resource from a server with these answers. Return the result and the requests."""
        server = self.serve(*answers)
        try:
            result = self.client(server, **options).resources.get("res_1")
        except Exception as err:  # the test examines it
            result = err
        return result, server.requests

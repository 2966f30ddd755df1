"""Servers, proxies and networks that misbehave."""

import itertools
import os
import socket
import struct
import threading
import unittest

import docsapi

from .case import KEY, OK, RESOURCE, Case, answer, endless, failure, raw

HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"id":"res_1","name":"A name","metadata":{}}'


def reset(handler):
    """Close the connection so that the client gets an error and not an end."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


class LimitedCase(Case):
    def setUp(self):
        super().setUp()
        # It takes long to reach the real limits.
        self.patch("docsapi._network._MAX_BODY", 128 << 10)
        self.patch("docsapi._network._MAX_RESPONSE", 256 << 10)


class BrokenTest(LimitedCase):
    def test_broken_responses_are_network_errors_and_retried(self):
        for name, broken in {
            "no response": raw(b""),
            "reset": reset,
            "cut in the status line": raw(b"HTTP/1.1 20"),
            "cut in the header": raw(HEAD + b"Content-Length: 44"),
            "cut after a line of the header": raw(HEAD + b"A: b\r\n"),
            "cut in the header of a failure": raw(b"HTTP/1.1 404 N\r\nRetry-Af"),
            "cut in the body": answer(200, BODY, length=len(BODY) + 1),
            "no body": answer(200, b"", length=10),
            "cut between chunks": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
            "cut in a chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}"),
            "an invalid chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n"),
            "a negative chunk": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"),
            "not HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
            "a long line that is not HTTP": raw(b"x" * 10_000 + b"\r\n"),
            "a status of four digits": raw(b"HTTP/1.1 2000 OK\r\n\r\n"),
            "an unknown version": raw(b"HTTP/7.0 200 OK\r\n\r\n"),
            "a long line": endless(HEAD, b"a" * 1000),
            "many headers": endless(HEAD, b"A: b\r\n"),
            "nothing but 100": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
            "nothing but 103": endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
            "another protocol": raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + BODY),
            "no end of trailers": endless(
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"A: b\r\n" * 1000
            ),
            "a chunk without end": endless(
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"x" * 65536
            ),
        }.items():
            with self.subTest(name):
                result, requests = self.call(broken, OK)
                self.assertEqual(len(requests), 2)
                self.assertEqual(result.id, "res_1")
                result, requests = self.call(broken)
                self.assertEqual(len(requests), 3)
                self.assertIs(type(result), docsapi.NetworkError)
                self.assertIsInstance(result.__cause__, Exception)
                self.assertTrue(result.retryable)
                self.assertLess(len(str(result)), 300)

    def test_interim_responses_are_skipped(self):
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 9\r\n\r\n"
        final = HEAD + b"Content-Length: 44\r\n\r\n" + BODY
        for interim in (hints, hints * 3, b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n" + hints):
            with self.subTest(interim):
                result, requests = self.call(raw(interim + final))
                self.assertEqual(len(requests), 1)
                self.assertEqual(result.id, "res_1")

    def test_status_counts_although_the_body_is_broken(self):
        cut = answer(404, b'{"error":{"code":"resource_mi', ("Request-Id", "req_9"), length=1000)
        chunk = b"HTTP/1.1 409 C\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{"
        for name, broken, kind, attempts in (
            ("a short body", cut, docsapi.InvalidRequestError, 1),
            ("a cut chunk", raw(chunk), docsapi.InvalidRequestError, 1),
            ("no end", endless(b"HTTP/1.1 403 F\r\n\r\n", b"x" * 65536), docsapi.PermissionDeniedError, 1),
            ("no end of a 500", endless(b"HTTP/1.1 500 E\r\n\r\n", b"x" * 65536), docsapi.APIError, 3),
        ):
            with self.subTest(name):
                result, requests = self.call(broken)
                self.assertEqual(len(requests), attempts)
                self.assertIs(type(result), kind)
                self.assertLess(len(str(result)), 400)
        result, _ = self.call(cut)
        self.assertEqual((result.status, result.request_id), (404, "req_9"))

    def test_a_response_before_the_end_of_the_request_is_read(self):
        server = self.serve(failure(413, type="invalid_request_error", code="request_too_large"))
        server.reads = False
        with self.assertRaises(docsapi.InvalidRequestError) as caught:
            self.client(server).resources.create(name="n" * (20 << 20))
        self.assertEqual(caught.exception.code, "request_too_large")
        self.assertEqual(len(server.requests), 1)

    def test_a_port_that_nobody_listens_on(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            with self.assertRaises(docsapi.NetworkError) as caught:
                docsapi.Client(KEY, base_url=url).resources.create(name="n")
        self.assertIsInstance(caught.exception.__cause__, ConnectionRefusedError)
        self.assertEqual(len(self.sleeps), 2)


class LargeTest(Case):
    def test_large_pages_are_read(self):
        data = [{**RESOURCE, "metadata": {"k": "v" * 300_000}}] * 100
        server = self.serve(answer(200, {"data": data}))
        self.assertEqual(len(self.client(server).resources.list().data), 100)


class TimeoutTest(Case):
    def test_a_server_that_is_silent(self):
        over = threading.Event()
        self.addCleanup(over.set)
        self.timed_out(lambda handler: over.wait(), timeout=0.01)

    def test_a_server_that_is_slow_forever(self):
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        for name, start, piece in (
            ("in its header", b"HTTP/1.1 200 OK\r\nA: ", b"a"),
            ("in its body", HEAD + b"\r\n", b" "),
            ("in its chunks", chunked, b"1\r\n \r\n"),
            ("in its trailers", chunked + b"2\r\n{}\r\n0\r\n", b"A: b\r\n"),
            ("with 100 Continue", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ):
            with self.subTest(name):
                clock = itertools.count()
                self.patch("time.monotonic", lambda: next(clock))  # each read takes a second
                self.timed_out(endless(start, piece), timeout=10)

    def timed_out(self, slow, timeout):
        server = self.serve(slow)
        for call in (
            lambda r, **options: r.create(name="n", **options),
            lambda r, **options: r.get("res_1", **options),
            lambda r, **options: r.update("res_1", name="n", **options),
            lambda r, **options: r.delete("res_1", **options),
            lambda r, **options: r.list(**options),
        ):
            for client, options in (
                (self.client(server, timeout=timeout), {}),
                (self.client(server), {"timeout": timeout}),
            ):
                self.sleeps.clear()
                with self.assertRaises(docsapi.RequestTimeoutError) as caught:
                    call(client.resources, **options)
                self.assertIsInstance(caught.exception, docsapi.NetworkError)
                self.assertIsInstance(caught.exception, TimeoutError)
                self.assertTrue(caught.exception.retryable)
                self.assertEqual(len(self.sleeps), 2)


class NonsenseTest(LimitedCase):
    def test_successes_that_are_none_are_errors(self):
        for name, nonsense in {
            "an HTML page": answer(200, b"<html>Log in</html>", ("Content-Type", "text/html")),
            "truncated JSON": answer(200, BODY[:-1]),
            "nothing": answer(200, b""),
            "no content": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
            "another success": answer(201, b"null"),
            "an array": answer(200, []),
            "a string": answer(200, "res_1"),
            "an empty object": answer(200, {}),
            "a number as id": answer(200, {**RESOURCE, "id": 1}),
            "no name": answer(200, {"id": "res_1", "metadata": {}}),
            "no metadata": answer(200, {"id": "res_1", "name": "n"}),
            "a list as metadata": answer(200, {"id": "res_1", "name": "n", "metadata": []}),
            "deep nesting": answer(200, b"[" * 100_000),
            "a long number": answer(200, b'{"id":' + b"9" * 100_000 + b"}"),
            "not UTF-8": answer(200, b'{"id":"res_\xff","name":"n","metadata":{}}'),
            "no end": endless(HEAD + b"\r\n", b" " * 65536),
            "no end of a text": endless(HEAD + b'\r\n{"id":"', b"a" * 65536),
        }.items():
            with self.subTest(name):
                result, requests = self.call(nonsense)
                self.assertEqual(len(requests), 1)
                self.assertIs(type(result), docsapi.APIError)
                self.assertFalse(result.retryable)
                self.assertLess(len(str(result)), 200)

    def test_failures_without_an_error_object(self):
        page = answer(502, b"<html><h1>Bad gateway</h1></html>", ("Request-Id", "req_9"))
        result, requests = self.call(page)
        self.assertEqual(len(requests), 3)
        self.assertIs(type(result), docsapi.APIError)
        self.assertEqual((result.status, result.code, result.request_id), (502, None, "req_9"))
        self.assertIn("Bad gateway", str(result))
        result, _ = self.call(raw(b"HTTP/1.1 429\r\n\r\n"))
        self.assertIs(type(result), docsapi.RateLimitError)
        self.assertEqual((result.status, result.code, result.request_id), (429, None, None))

    def test_pages_that_are_none(self):
        for nonsense in ({}, {"data": {}}, {"data": [{}]}, {"data": [], "next_cursor": 1}, []):
            with self.subTest(nonsense):
                server = self.serve(answer(200, nonsense))
                with self.assertRaises(docsapi.APIError):
                    self.client(server).resources.list()

    def test_a_deletion_that_did_not_happen(self):
        for nonsense in ({}, {"id": "res_1"}, {"id": "res_1", "deleted": False}):
            with self.subTest(nonsense):
                server = self.serve(answer(200, nonsense))
                with self.assertRaises(docsapi.APIError):
                    self.client(server).resources.delete("res_1")


class RedirectTest(Case):
    def test_redirects_are_errors(self):
        other = self.serve(OK)
        for status in (301, 302, 303, 307, 308):
            for call in (
                lambda r: r.get("res_1"),
                lambda r: r.create(name="n"),
                lambda r: r.delete("res_1"),
            ):
                for location in (f"{other.url}/v1/resources/res_1", "/v1/resources/other"):
                    with self.subTest(status=status, location=location):
                        server = self.serve(answer(status, RESOURCE, ("Location", location)), OK)
                        with self.assertRaises(docsapi.APIError) as caught:
                            call(self.client(server).resources)
                        self.assertEqual(caught.exception.status, status)
                        self.assertEqual(len(server.requests), 1)
        self.assertEqual(other.requests, [])


class ProxyTest(Case):
    def test_proxy_of_the_environment_is_used(self):
        proxy = self.serve(OK)
        os.environ.update(http_proxy=proxy.url)
        docsapi.Client(KEY, base_url="http://api.example.com").resources.get("res_1")
        self.assertEqual(proxy.requests[0].path, "http://api.example.com/v1/resources/res_1")

    def test_hosts_without_proxy(self):
        proxy, server = self.serve(OK), self.serve(OK)
        os.environ.update(http_proxy=proxy.url, no_proxy="127.0.0.1")
        self.client(server).resources.get("res_1")
        self.assertEqual((len(proxy.requests), len(server.requests)), (0, 1))

    def test_proxy_of_https_does_not_get_the_key(self):
        proxy = self.serve(answer(407))
        os.environ.update(https_proxy=proxy.url)
        with self.assertRaises(docsapi.NetworkError):
            docsapi.Client(KEY, base_url="https://api.example.com").resources.get("res_1")
        self.assertEqual([r.method for r in proxy.requests], ["CONNECT"] * 3)
        self.assertNotIn(KEY, str([r.headers for r in proxy.requests]))


if __name__ == "__main__":
    unittest.main()

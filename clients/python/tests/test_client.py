"""What is sent and logged, and what the caller gets."""

import copy
import dataclasses
import json
import logging
import pickle
import threading
import unittest

import docsapi

from .case import KEY, OK, RESOURCE, Case, answer, failure, raw


class RequestTest(Case):
    def test_requests(self):
        deleted = {"id": "res_1", "deleted": True}
        page = {"data": [RESOURCE]}
        resource = docsapi.Resource(id="res_1", name="A name", metadata={"k": "v"})
        for call, method, path, body, response, result in (
            (
                lambda r: r.create(name=""),
                "POST", "/v1/resources", {"name": ""}, RESOURCE, resource,
            ),
            (
                lambda r: r.create(name="Zo\u00eb \U0001f600", metadata={"a": "b"}),
                "POST", "/v1/resources", {"name": "Zo\u00eb \U0001f600", "metadata": {"a": "b"}}, RESOURCE, resource,
            ),
            (lambda r: r.get("res_1"), "GET", "/v1/resources/res_1", None, RESOURCE, resource),
            (lambda r: r.get("a/b?c#d e%\u00eb"), "GET", "/v1/resources/a%2Fb%3Fc%23d%20e%25%C3%AB", None, RESOURCE, resource),
            (lambda r: r.get("../x"), "GET", "/v1/resources/..%2Fx", None, RESOURCE, resource),
            (lambda r: r.get("a\r\nX: y"), "GET", "/v1/resources/a%0D%0AX%3A%20y", None, RESOURCE, resource),
            (lambda r: r.update("res_1", name="n"), "PATCH", "/v1/resources/res_1", {"name": "n"}, RESOURCE, resource),
            (lambda r: r.update("res_1", metadata={}), "PATCH", "/v1/resources/res_1", {"metadata": {}}, RESOURCE, resource),
            (lambda r: r.update("res_1"), "PATCH", "/v1/resources/res_1", {}, RESOURCE, resource),
            (lambda r: r.delete("res_1"), "DELETE", "/v1/resources/res_1", None, deleted, None),
            (lambda r: r.list().data, "GET", "/v1/resources", None, page, [resource]),
            (lambda r: r.list(limit=5).data, "GET", "/v1/resources?limit=5", None, page, [resource]),
            (lambda r: r.list(limit=5, cursor="a&b").data, "GET", "/v1/resources?limit=5&cursor=a%26b", None, page, [resource]),
        ):  # fmt: skip
            with self.subTest(method=method, path=path):
                server = self.serve(answer(200, response))
                self.assertEqual(call(self.client(server).resources), result)
                (request,) = server.requests
                self.assertEqual((request.method, request.path), (method, path))
                self.assertEqual(json.loads(request.body or "null"), body)
                self.assertEqual(request.headers["Authorization"], "Bearer " + KEY)
                self.assertEqual(request.headers["Accept"], "application/json")
                self.assertEqual(request.headers["User-Agent"], "docsapi-python/" + docsapi.__version__)
                content_type = None if body is None else "application/json"
                self.assertEqual(request.headers["Content-Type"], content_type)

    def test_base_url_may_have_a_path(self):
        server = self.serve(OK)
        docsapi.Client(KEY, base_url=server.url + "/docs//").resources.get("res_1")
        self.assertEqual(server.requests[0].path, "/docs/v1/resources/res_1")

    def test_ids_of_something_else_are_refused(self):
        server = self.serve(OK)
        resources = self.client(server).resources
        for id in ("", ".", "..", b"..", b"res_1", None, 7):
            for call in (resources.get, resources.update, resources.delete):
                with self.subTest(id=id, call=call), self.assertRaises(ValueError):
                    call(id)
        self.assertEqual(server.requests, [])

    def test_invalid_arguments_are_refused_and_keys_not_shown(self):
        for name, value in (
            *(("api_key", key) for key in ("", "a key", "k\r\nX-Admin: 1", "k\n", "k\0", "\u00e9", None, b"k")),
            *(("max_attempts", number) for number in (0, -1)),
            *(("timeout", number) for number in (0, -1, float("nan"), float("inf"))),
            *(("total_timeout", number) for number in (0, -1, float("nan"))),
            *(
                ("base_url", url)
                for url in (
                    None, b"http://localhost", "", "localhost:8080", "ftp://localhost", "file:///etc/passwd", "http://", "http:///x",
                    "http://user:password@localhost", "http://localhost?a=b", "http://localhost#a",
                    "http://localhost/a b", "http://localhost\r\nX: y", "http://localhost:99999",
                    "http://localhost:port", "http://a..b", "http://localhost\n",
                )
            ),
        ):  # fmt: skip
            with self.subTest(name=name, value=value):
                with self.assertRaises(ValueError) as caught:
                    docsapi.Client(**{"api_key": KEY, name: value})
                if name == "api_key" and value:
                    self.assertNotIn(str(value), str(caught.exception))
                    self.assertIn(name, str(caught.exception))
        client = self.client(self.serve(OK))
        with self.assertRaises(ValueError):
            client.resources.get("res_1", timeout=0)

    def test_threads_share_a_client(self):
        def respond(handler):
            id = handler.path.rpartition("/")[2]
            answer(200, {**RESOURCE, "id": id})(handler)

        client = self.client(self.serve(respond))
        got = {}

        def get(id):
            got[id] = client.resources.get(id).id

        threads = [threading.Thread(target=get, args=(f"res_{n}",)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(got, {f"res_{n}": f"res_{n}" for n in range(50)})


class ResourceTest(Case):
    def test_resources_are_values(self):
        one, _ = self.call(OK)
        two, _ = self.call(OK)
        self.assertEqual(one, two)
        self.assertEqual(len({one, two}), 1)
        self.assertEqual(pickle.loads(pickle.dumps(one)), one)
        with self.assertRaises(dataclasses.FrozenInstanceError):
            one.name = "another"

    def test_unknown_members_are_ignored(self):
        more = {"color": "red", "owner": {"id": 1}, "metadata": {"k": "v", "n": 1}}
        resource, _ = self.call(answer(200, {**RESOURCE, **more}))
        self.assertEqual(resource, docsapi.Resource("res_1", "A name", {"k": "v"}))


class PageTest(Case):
    def page(self, names, cursor=None):
        page = {"data": [{**RESOURCE, "id": name} for name in names]}
        return answer(200, {**page, "next_cursor": cursor} if cursor is not None else page)

    def test_iteration_visits_all_pages(self):
        server = self.serve(self.page("ab", "c1"), self.page("", "c2"), failure(503), self.page("c", ""))
        page = self.client(server).resources.list(limit=2)
        self.assertEqual(len(server.requests), 1)
        self.assertEqual(page.next_cursor, "c1")
        self.assertEqual([r.id for r in page], ["a", "b", "c"])
        paths = ["?limit=2", "?limit=2&cursor=c1", "?limit=2&cursor=c2", "?limit=2&cursor=c2"]
        self.assertEqual([r.path for r in server.requests], ["/v1/resources" + p for p in paths])

    def test_iteration_requests_no_page_too_early(self):
        server = self.serve(self.page("ab", "c1"), self.page("c"))
        for resource in self.client(server).resources.list():
            if resource.id == "b":
                break
        self.assertEqual(len(server.requests), 1)

    def test_iteration_can_begin_again(self):
        server = self.serve(self.page("ab"))
        page = self.client(server).resources.list()
        self.assertEqual([r.id for r in page], [r.id for r in page])
        self.assertIsNone(page.next_cursor)


class ErrorTest(Case):
    def test_classes(self):
        for status, type_, code, kind in (
            (400, "invalid_request_error", "parameter_missing", docsapi.InvalidRequestError),
            (404, "invalid_request_error", "resource_missing", docsapi.InvalidRequestError),
            (401, "authentication_error", "authentication_failed", docsapi.AuthenticationError),
            (403, "permission_error", "permission_denied", docsapi.PermissionDeniedError),
            (409, "idempotency_error", "idempotency_conflict", docsapi.IdempotencyError),
            (429, "rate_limit_error", "rate_limit_exceeded", docsapi.RateLimitError),
            (500, "api_error", "api_error", docsapi.APIError),
            (418, "tea_error", "teapot", docsapi.ResponseError),
        ):
            with self.subTest(code=code):
                err, _ = self.call(failure(status, type=type_, code=code, param="name"))
                self.assertIs(type(err), kind)
                self.assertIsInstance(err, docsapi.ResponseError)
                self.assertEqual((err.status, err.type, err.code), (status, type_, code))
                self.assertEqual((err.message, err.param, err.request_id), ("m", "name", "req_1"))

    def test_errors_can_be_copied(self):
        over = threading.Event()
        self.addCleanup(over.set)
        for broken, timeout in ((failure(404), 30), (raw(b""), 30), (lambda handler: over.wait(), 0.01)):
            err, _ = self.call(broken, max_attempts=1, timeout=timeout)
            for other in (pickle.loads(pickle.dumps(err)), copy.copy(err)):
                self.assertIs(type(other), type(err))
                self.assertEqual(str(other), str(err))
                self.assertEqual(other.retryable, err.retryable)


class LogTest(Case):
    def logged(self, *answers):
        server = self.serve(*answers)
        client = self.client(server)
        with self.assertLogs("docsapi", logging.WARNING) as logs:
            try:
                client.resources.create(name="private name", idempotency_key="private-key")
            except (docsapi.ResponseError, docsapi.NetworkError):
                pass
        host = server.url[len("http://") :]
        return [line.replace(host, "HOST") for line in logs.output]

    def test_every_failure_is_logged_with_its_request_id(self):
        lines = self.logged(failure(503, request_id="req_a"), raw(b""), failure(404, request_id="req_c"))
        request = "method=POST host=HOST attempt"
        self.assertEqual(
            lines,
            [
                f"WARNING:docsapi:retrying request: {request}=1 status=503 code='api_error' request_id='req_a' delay=0.000",
                f"WARNING:docsapi:retrying request: {request}=2 error=RemoteDisconnected delay=0.000",
                f"WARNING:docsapi:request failed: {request}=3 status=404 code='api_error' request_id='req_c'",
            ],
        )

    def test_successes_are_not_logged(self):
        with self.assertLogs("docsapi") as logs:
            self.call(OK)
            logging.getLogger("docsapi").warning("the only line")
        self.assertEqual(len(logs.output), 1)

    def test_secrets_and_bodies_are_not_logged(self):
        private = "private message"
        for broken in (
            failure(500, message=private, param=private, doc_url=private, metadata={"k": private}),
            answer(400, b"<html>" + private.encode()),
            answer(200, b"<html>" + private.encode()),
            raw(private.encode() + b"\r\n\r\n"),
            answer(302, b"", ("Location", "http://localhost/" + private)),
        ):
            lines = "\n".join(self.logged(broken))
            self.assertNotIn("private", lines)
            self.assertNotIn(KEY, lines)

    def test_a_server_cannot_forge_lines(self):
        forged = "x\nWARNING:docsapi:forged \x1b[31m\u202e" + "x" * 10_000
        for broken in (
            failure(500, code=forged, request_id=forged),
            failure(500, code="", type=forged),
            answer(200, b"", ("Request-Id", "x\x1b[31m" + "x" * 10_000)),
        ):
            for line in self.logged(broken):
                self.assertLess(len(line), 400)
                self.assertTrue(line.isprintable(), line)

    def test_the_client_does_not_show_its_key(self):
        client = docsapi.Client(KEY)
        self.assertNotIn(KEY, repr(client) + repr(client.resources) + str(client))


if __name__ == "__main__":
    unittest.main()

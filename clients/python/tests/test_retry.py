"""When a request is sent again, and after how long."""

import datetime
import itertools
import threading
import unittest
import uuid

import docsapi

from .case import OK, RESOURCE, Case, answer, endless, failure, raw

CUT = raw(b"")


def after(seconds, layout="%a, %d %b %Y %H:%M:%S GMT"):
    """Return the HTTP date that is so many seconds ahead."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime(layout)


class RetryTest(Case):
    def test_statuses(self):
        retried = {429, 500, 502, 503, 504, 507, 599}
        never = {400, 401, 403, 404, 405, 408, 409, 413, 415, 418, 422, 425, 451, 499, 501}
        never |= {300, 301, 302, 303, 304, 305, 307, 308, 600, 700, 999}
        for status in sorted(retried | never):
            with self.subTest(status=status):
                result, requests = self.call(answer(status), OK)
                if status in retried:
                    self.assertEqual(len(requests), 2)
                    self.assertEqual(result.id, "res_1")
                else:
                    self.assertEqual(len(requests), 1)
                    self.assertIsInstance(result, docsapi.ResponseError)
                    self.assertEqual(result.status, status)
                    self.assertFalse(result.retryable)

    def test_attempts_end(self):
        for options, attempts in (({}, 3), ({"max_attempts": 1}, 1), ({"max_attempts": 5}, 5)):
            for broken, kind in ((failure(503), docsapi.APIError), (CUT, docsapi.NetworkError)):
                with self.subTest(options=options, kind=kind):
                    result, requests = self.call(broken, **options)
                    self.assertEqual(len(requests), attempts)
                    self.assertIsInstance(result, kind)

    def test_backoff_doubles_up_to_its_limit(self):
        self.jitter = 1.0
        self.call(failure(500), max_attempts=11)
        want = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]
        self.assertEqual([round(s, 9) for s in self.sleeps], want)

    def test_jitter_begins_at_zero(self):
        self.call(failure(500), max_attempts=4)
        self.assertEqual(self.sleeps, [0, 0, 0])

    def test_should_retry_only_forbids(self):
        for status, lines, attempts in (
            (503, ["false"], 1),
            (429, [" FALSE "], 1),
            (503, ["true", "false"], 1),
            (503, ["true, false"], 1),
            (503, ["true"], 2),
            (503, ["falsehood"], 2),
            (503, [""], 2),
            (404, ["true"], 1),
            (409, ["true"], 1),
            (501, ["true"], 1),
            (200, ["false"], 1),
        ):
            with self.subTest(status=status, lines=lines):
                headers = [("X-Should-Retry", line) for line in lines]
                _, requests = self.call(answer(status, {}, *headers), OK)
                self.assertEqual(len(requests), attempts)

    def test_retry_after_is_waited(self):
        for lines, milliseconds, wait in (
            (["2"], [], 2),
            ([" 2 "], [], 2),
            (["120"], [], 120),
            (["1", "3"], [], 3),
            (["3", "1"], [], 3),
            (["1, 3, 2"], [], 3),
            (["soon", "3"], [], 3),
            (["3", "soon"], [], 3),
            (["3", "Fri, 31 Dec 1999 23:59:59 GMT"], [], 3),
            (["1"], ["30"], 0.03),
            (["3"], ["2001"], 2.001),
            (["3"], ["2000"], 3),
            (["1"], ["1500"], 1),
            (["1"], ["soon"], 1),
            (["1"], ["300", "20"], 0.3),
            (["1", "2"], ["30"], 2),
            # None of these says how long.
            ([], [], 0),
            (["0"], [], 0),
            (["-1"], [], 0),
            (["1.5"], [], 0),
            (["1e3"], [], 0),
            (["soon"], [], 0),
            ([""], [], 0),
            (["\u0661"], [], 0),
            (["Fri, 31 Dec 1999 23:59:59 GMT"], [], 0),
            (["Fri, 32 Dec 2099 23:59:59 GMT"], [], 0),
        ):
            for status in (429, 503):
                with self.subTest(lines=lines, milliseconds=milliseconds, status=status):
                    self.sleeps.clear()
                    headers = [("Retry-After", line.encode().decode("latin-1")) for line in lines]
                    headers += [("Retry-After-Ms", line) for line in milliseconds]
                    _, requests = self.call(failure(status, *headers), OK)
                    self.assertEqual(len(requests), 2)
                    self.assertEqual(self.sleeps, [wait])

    def test_dates_in_retry_after_are_waited_for(self):
        layouts = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
        for lines in (
            *([after(100, layout)] for layout in layouts),
            [after(100), after(50)],
            ["5", after(100)],
            [after(100), "5"],
        ):
            with self.subTest(lines=lines):
                self.sleeps.clear()
                _, requests = self.call(failure(503, *(("Retry-After", line) for line in lines)), OK)
                self.assertEqual(len(requests), 2)
                self.assertTrue(50 < self.sleeps[0] <= 100, self.sleeps)

    def test_jitter_is_added_to_retry_after(self):
        self.jitter = 1.0
        self.call(failure(429, ("Retry-After", "2")), OK)
        self.assertEqual(self.sleeps, [2.1])

    def test_retry_after_over_the_limit_ends_the_call(self):
        for value in ("121", "9" * 400, "5, 600", after(200), "Fri, 31 Dec 9999 23:59:59 GMT"):
            with self.subTest(value=value[:40]):
                result, requests = self.call(failure(503, ("Retry-After", value)), OK)
                self.assertEqual(len(requests), 1)
                self.assertIsInstance(result, docsapi.APIError)
                self.assertGreater(result.retry_after, 120)
        self.assertEqual(self.sleeps, [])

    def test_the_total_timeout_ends_the_call(self):
        self.jitter = 1.0
        now = [1000.0]
        self.patch("time.monotonic", lambda: now[0])
        self.patch("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
        for total, broken, attempts in (
            (0.05, failure(503), 1),
            (0.25, failure(503), 2),
            (0.35, failure(503), 3),
            (0.25, CUT, 2),
            (5, failure(503, ("Retry-After", "6")), 1),
            (5, failure(503, ("Retry-After", "3")), 2),
        ):
            with self.subTest(total=total):
                result, requests = self.call(broken, total_timeout=total)
                self.assertEqual(len(requests), attempts)
                self.assertTrue(result.retryable)

    def test_the_total_timeout_limits_an_attempt(self):
        clock = itertools.count()
        self.patch("time.monotonic", lambda: next(clock))  # each read takes a second
        result, requests = self.call(endless(b"HTTP/1.1 200 OK\r\n\r\n", b" "), total_timeout=10)
        self.assertIsInstance(result, docsapi.RequestTimeoutError)
        self.assertEqual(len(requests), 1)
        self.assertLess(next(clock), 20)


class KeyTest(Case):
    def writes(self, resources):
        return {
            "POST": lambda **options: resources.create(name="n", **options),
            "PATCH": lambda **options: resources.update("res_1", name="n", **options),
            "DELETE": lambda **options: resources.delete("res_1", **options),
        }

    def test_all_attempts_of_a_write_have_one_key(self):
        done = answer(200, {**RESOURCE, "deleted": True})
        for method in ("POST", "PATCH", "DELETE"):
            for key in (None, "order-4711", '"quoted"', "k" * 255, "!~"):
                with self.subTest(method=method, key=key):
                    server = self.serve(failure(503), CUT, done)
                    self.writes(self.client(server).resources)[method](idempotency_key=key)
                    self.assertEqual([r.method for r in server.requests], [method] * 3)
                    self.assertEqual(len({r.body for r in server.requests}), 1)
                    keys = {r.key for r in server.requests}
                    self.assertEqual(len(keys), 1)
                    if key is None:
                        self.assertEqual(uuid.UUID(keys.pop()).version, 4)
                    else:
                        self.assertEqual(keys, {key})

    def test_each_write_has_its_own_key(self):
        server = self.serve(OK)
        resources = self.client(server).resources
        for _ in range(10):
            resources.create(name="n")
        self.assertEqual(len({r.key for r in server.requests}), 10)

    def test_reads_have_no_key(self):
        server = self.serve(failure(503), OK, answer(200, {"data": []}))
        resources = self.client(server).resources
        resources.get("res_1")
        resources.list()
        self.assertEqual([r.key for r in server.requests], [None] * 3)

    def test_invalid_keys_are_refused_and_not_shown(self):
        server = self.serve(OK)
        for key in ("", "k" * 256, "a key", "a\r\nX-Admin: 1", "a\n", "a\0", "\u00e9", "a\tb", b"k", 7):
            for method, write in self.writes(self.client(server).resources).items():
                with self.subTest(key=key, method=method):
                    with self.assertRaises(ValueError) as caught:
                        write(idempotency_key=key)
                    self.assertIn("idempotency_key", str(caught.exception))
                    self.assertNotIn(f"{key}" or "\0", str(caught.exception))
        self.assertEqual(server.requests, [])


class BudgetTest(Case):
    def setUp(self):
        super().setUp()
        self.now = 1000.0
        self.patch("time.monotonic", lambda: self.now)

    def failed(self, client, server):
        """Return how many requests a call that fails sends."""
        before = len(server.requests)
        with self.assertRaises((docsapi.APIError, docsapi.NetworkError)):
            client.resources.get("res_1")
        return len(server.requests) - before

    def test_an_outage_gets_ten_retries(self):
        for broken in (failure(503), CUT):
            server = self.serve(broken)
            client = self.client(server)
            self.assertEqual([self.failed(client, server) for _ in range(8)], [3] * 5 + [1] * 3)

    def test_threads_share_the_budget(self):
        server = self.serve(failure(503))
        client = self.client(server)
        threads = [threading.Thread(target=self.failed, args=(client, server)) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(server.requests), 40)

    def test_successes_and_time_earn_retries(self):
        server = self.serve(failure(503))
        client = self.client(server)
        for _ in range(5):
            self.failed(client, server)
        for name, earn, requests in (
            ("nothing", 0, [1]),
            ("nine successes", 9, [1]),
            ("a tenth", 1, [2, 1]),
            ("many", 200, [3, 3, 3, 3, 3, 1]),
        ):
            with self.subTest(name):
                server.answers[:] = [OK]
                for _ in range(earn):
                    client.resources.get("res_1")
                server.answers[:] = [failure(503)]
                self.assertEqual([self.failed(client, server) for _ in requests], requests)
        for seconds, requests in ((9, [1]), (1, [2, 1]), (3600, [3, 3, 3, 3, 3, 1])):
            with self.subTest(seconds=seconds):
                self.now += seconds
                self.assertEqual([self.failed(client, server) for _ in requests], requests)

    def test_failures_that_are_not_retried_cost_nothing(self):
        server = self.serve(failure(404))
        client = self.client(server)
        for _ in range(50):
            with self.assertRaises(docsapi.ResponseError):
                client.resources.get("res_1")
        server.answers[:] = [failure(503)]
        self.assertEqual([self.failed(client, server) for _ in range(6)], [3] * 5 + [1])


if __name__ == "__main__":
    unittest.main()

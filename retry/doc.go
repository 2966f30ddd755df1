// Package retry provides an [http.RoundTripper] that retries failed requests. It retries a
// write only under an Idempotency-Key, waits no longer than the caller can, and adds
// little load in an outage.
//
//	client := &http.Client{Transport: &retry.Transport{}}
//
// Create the client once and share it. Requests are made as before.
//
// # What is retried
//
// A call has up to three attempts. The [Transport] retries a status of 429, a status of
// 500 to 599 except 501, and a connection that fails. Before the second attempt it waits
// for a random time of up to 100 ms, before the third of up to 200 ms. If the response has
// a Retry-After, in seconds or as a date, the wait is that and a little more;
// Retry-After-Ms refines it. X-Should-Retry: false ends the call. See [Policy] to change
// this.
//
// A read (GET, HEAD, OPTIONS, TRACE) is retried as it is. A write (POST, PUT, PATCH,
// DELETE) is retried under an Idempotency-Key, for which a server carries it out once and
// answers the retry with the first result. The Transport generates a key for each write,
// unless the caller has set one. The key is the same on all attempts, and on a redirect
// that keeps the method (307, 308), also to another host.
//
//	req.Header.Set("Idempotency-Key", "order-4711")
//	ctx = retry.WithIdempotencyKey(ctx, "order-4711") // if the header is out of reach
//
// A server that ignores the header would carry a retried write out twice. For such servers
// set [Policy.Keys] to [KeysCallerOnly]: a write without the caller's key is then sent
// once, unless no connection could be made.
//
// An SDK that retries by itself makes several calls with a new key each, and the write can run
// twice. Turn its retries off, or give each write a key.
//
// A body can be sent again if the request has a GetBody. [http.NewRequest] sets it for
// bytes and strings. Any other body is sent once, unless [Policy.RecordBody] is set; so is
// every body in a [net/http/httputil.ReverseProxy].
//
// The http.Transport below sends a request once more, uncounted, if the connection that it
// reused turns out to be dead.
//
// # How a call ends
//
// A call ends early if the next attempt would be pointless: the server asks for a longer
// wait than Policy.MaxRetryAfter, the context's deadline comes first, the [Budget] is used
// up, or the [Breaker] is open. It also ends with the request's context, Request.Cancel or
// http.Client.Timeout.
//
// If the last attempt had a response, RoundTrip returns it unread with a nil error,
// whatever the status:
//
//	resp, err := client.Do(req)
//	if err == nil {
//		err = apierror.Parse(resp)
//	}
//
// Otherwise it returns an [*Error], which an http.Client wraps in a [*net/url.Error], or
// replaces by its own error after its Timeout. [WithReport] has the attempts of any call,
// and the [Reason] for its end.
//
// # Outages
//
// Retries can turn a short outage into a long one: three for every call are four times the
// load. Two things prevent that, for each host and by default.
//
// The [Budget] limits retries to a tenth of the successes, plus a burst of ten and one in
// ten seconds. The [Breaker] stops sending to a host on which half of at least 20 attempts
// in ten seconds failed, or the last 10 to 20 of them. It then sends single attempts, up
// to one a second, and the first that succeeds ends the outage.
//
// A host is a scheme, host and port. [Transport.Group] joins the hosts of a service, or
// separates the tenants of a host. [Breaker.Circuits] returns the state of all circuits,
// [Breaker.Hold] stops the requests to a group, and [Breaker.Reset] ends that.
//
// If a fifth of all requests fail for minutes, the default budget recovers half of them;
// Budget.PerSuccess sets how many. A server that accepts connections but never answers
// opens its circuit only if [Policy.AttemptTimeout] is set.
//
// # Composing
//
// A RoundTripper that must see every attempt, to sign or trace it, belongs in Base; one
// that must see every call goes around the Transport. A Transport does not retry what
// another one below it has retried. [Transport.Pace] keeps attempts below a known rate,
// and [Policy.HoldHost] makes one 429 hold back other requests with the same credentials.
//
// [WithPolicy] and [WithoutRetry] change the policy for a call. [Do] applies a policy to
// work that is not one HTTP request. It has no budget unless the policy has one.
//
// Zero options mean the default, and negative ones turn a thing off.
//
// # Performance
//
// A read that succeeds at the first attempt costs two small allocations, without a copy, a
// goroutine or a timer. A write costs a shallow copy, a header map and the key. State is
// kept for up to 1,024 hosts, about 1 KiB each.
package retry

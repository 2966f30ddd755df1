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
// A call has up to three attempts. The [Transport] retries after a status of 429 or 500
// to 599, except 501, and after a connection error. It waits for a random time of up to
// 100 ms before the second attempt, and of up to 200 ms before the third. If the response
// has a Retry-After header, in seconds or as a date, the Transport waits for that time
// and a little longer. Retry-After-Ms makes the time more precise. X-Should-Retry: false
// ends the call. See [Policy] to change this.
//
// A read (GET, HEAD, OPTIONS, TRACE) is retried without changes. A write (POST, PUT,
// PATCH, DELETE) is retried under an Idempotency-Key. A server that honors the key
// carries the write out once and answers the retry with the first result. The Transport
// generates a key for each write, unless the caller has set one. All attempts of a write
// have the same key. So does a redirect that keeps the method (307, 308), even to another
// host.
//
//	req.Header.Set("Idempotency-Key", "order-4711")
//	ctx = retry.WithIdempotencyKey(ctx, "order-4711") // if the header is out of reach
//
// A server that ignores the header would carry out a retried write twice. For such
// servers, set [Policy.Keys] to [KeysCallerOnly]: a write without the caller's key is
// then sent once, and is retried only if no connection could be made.
//
// If an SDK above the Transport retries by itself, each of its retries is a new call with
// a new key, and the write can run twice. Turn off the SDK's retries, or give each write
// a key.
//
// A body can be sent again if the request has a GetBody. [http.NewRequest] sets it for
// bytes and strings. Any other body is sent once, unless [Policy.RecordBody] is set. This
// includes all bodies that a [net/http/httputil.ReverseProxy] forwards.
//
// If Base is an http.Transport and the connection that it reuses turns out to be dead, it
// sends the request again by itself. That does not count as an attempt.
//
// # How a call ends
//
// A call ends early if the next attempt would be pointless: the server asks for a longer
// wait than Policy.MaxRetryAfter, the context's deadline comes first, the [Budget] is used
// up, or the circuit in the [Breaker] is open. It also ends when the request's context
// ends, when Request.Cancel is closed, and after http.Client.Timeout.
//
// If the last attempt had a response, RoundTrip returns it unread with a nil error,
// whatever the status:
//
//	resp, err := client.Do(req)
//	if err == nil {
//		err = apierror.Parse(resp)
//	}
//
// Otherwise it returns an [*Error]. An http.Client wraps that in a [*net/url.Error], or
// replaces it with its own error if its Timeout has passed. A [Report] has the attempts
// of any call, and the [Reason] why it ended: see [WithReport].
//
// # Outages
//
// Retries can turn a short outage into a long one: with two retries for every call, the
// load is three times as high. A budget and a breaker prevent that. By default, each host
// has a bucket in the budget and a circuit in the breaker.
//
// The [Budget] limits retries to a tenth of the successes, plus a burst of ten, plus one
// every ten seconds. The [Breaker] stops sending to a host if there were at least 20
// attempts in ten seconds, and if half of them failed or the last 10 to 20 all failed. It
// then sends single attempts, one or two a second, and the first that succeeds ends the
// outage.
//
// Here, a host means the scheme, host name and port of a URL. [Transport.Group] makes the
// hosts of one service share a budget and a breaker's circuit, or gives each tenant of one
// host its own. [Breaker.Circuits] returns the state of all circuits. [Breaker.Hold] stops
// the requests to a group, and [Breaker.Reset] allows them again.
//
// If a fifth of all requests fail for minutes, the retries that the default budget allows
// recover less than half of those calls. To recover more, raise [Budget.PerSuccess]. A
// server that accepts connections but never answers opens its circuit only if
// [Policy.AttemptTimeout] is set, or if Base has a timeout, such as the
// ResponseHeaderTimeout of an http.Transport.
//
// # Composing
//
// A RoundTripper that must see every attempt, for example to sign or trace it, belongs in
// Base. One that must see each call only once wraps the Transport. A Transport does not
// retry a call that another Transport in its Base has retried already. [Transport.Pace]
// keeps attempts below a known rate, and [Policy.HoldHost] makes a 429 or 503 hold back
// other requests with the same credentials.
//
// [WithPolicy] and [WithoutRetry] change the policy for a call. [Do] applies a policy to
// work that is not one HTTP request. It has no budget unless the policy has one.
//
// If an option is zero, its default applies. If it is negative, the feature or limit is
// off.
//
// # Performance
//
// A read that succeeds at the first attempt costs two small allocations. It needs no copy
// of the request, no goroutine and no timer. A write costs a shallow copy of the request,
// a header map and the key. State is kept for up to 1,024 hosts, about 1 KiB each.
package retry

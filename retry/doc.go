/*
Package retry is the client's side of the specification: an [http.RoundTripper] that repeats what can be recovered, a write only
under an Idempotency-Key, never sleeps towards a certain failure, and in an outage adds a tenth, not a multiple, of load.

	client := &http.Client{Transport: &retry.Transport{}}

That is all there is to adopt, for calls to servers that honour Idempotency-Key; for others see [CallerKeys]. Requests are made as before; make the client once and share it.

# What is repeated

A response 429 or 5xx (but 501, which never heals) and a failure of the connection, at most three times in all, after a wait that
is drawn from [0, 100 ms], then [0, 200 ms], and so on: exponential backoff with full jitter. Where the server names a time in
Retry-After, in seconds or as a date, the wait is that and a little more. Another 4xx is never repeated: its result would be the
same. X-Should-Retry: false is obeyed; true changes nothing.

A read (GET, HEAD, OPTIONS, TRACE) can be repeated as it is. A write is repeated only under an Idempotency-Key, which makes a
server of the specification carry it out once and answer the repetition with the first result. A Transport gives every POST, PUT,
PATCH and DELETE a key of its own, from the first attempt on, unless the request has the caller's:

	req.Header.Set("Idempotency-Key", "order-4711")                 // or, where the header is out of reach:
	ctx = retry.WithIdempotencyKey(ctx, "order-4711")

A server that does not know the header would carry a repeated write out again. Towards such a server let [Policy.Keys] be
[CallerKeys]: a write without the caller's own key is then sent once, whatever happens, except that a connection that could not
even be dialled is tried again.

A body can be sent again if the request has a GetBody, as [http.NewRequest] sets it for bytes and strings. Any other body streams
and is sent once, unless [Policy.RecordBody] says how much of it may be remembered.

# When it stops

The call ends at once, and no later, when another attempt is not worth its wait: when the server asks for more than
[Policy.MaxRetryAfter], when the context's deadline (of which [http.Client.Timeout] is one) comes before the attempt could, when
the [Budget] is used up, when the [Breaker] is open, when the context is cancelled.

If the last attempt had a response, whatever its status, the caller gets that, whole, with a nil error. So error handling needs to
know nothing of retries:

	resp, err := client.Do(req)
	if err == nil {
		err = apierror.Parse(resp)
	}

With a response's header the call is over: a body that breaks off later is an error of who reads it.

If the last attempt had no response, the error is an [*Error], under the client's [*net/url.Error]. It unwraps to what the network said, to the
context's error and cause if that ended the call, to [ErrCircuitOpen] if the breaker did. [Reason] enumerates the answers to
"why did it not retry", and [WithReport] has them for a success too.

# Outages

Retries are what turns a short outage into a long one: three retries for every call are four times the load, on a server that
could not bear one. Two things stand against it, for every host by itself, and both are on by default.

A [Budget] lets retries be at most a tenth of the successes, beside a burst of ten and one in ten seconds. A [Breaker] stops
sending when half of at least 20 attempts in ten seconds failed, for five seconds, and then tries with one. A first
attempt needs no budget.

The other side of that: while a server fails a fifth of all requests for minutes, a tenth is recovered and the other is not. To
recover more, at the server's expense, set [Budget.PerSuccess]. And a server that takes connections and never answers is seen as
failing only if [Policy.AttemptTimeout] is set, since a deadline of the caller's says nothing about the server.

# Composing

Base sends a single attempt. What has to be done for every attempt, such as signing or tracing it, is a RoundTripper in Base; what
has to be done for a call goes around the Transport. [Transport.Pace] spaces attempts out to stay under a known limit, and
[Policy.HoldHost] makes one request's 429 hold back the others that use the same key.

A [Policy] can be overridden for one call with [WithPolicy], and retries switched off with [WithoutRetry]. [Do] follows a policy for
work that is not one HTTP request; since a Policy does not know who shares it, give it a Budget there.

Options follow one rule: the zero value is the default, and a negative value switches a thing off.

# Performance

A read that succeeds at once is sent as the caller's own request, without a copy, a goroutine or a timer: one allocation, the
breaker's. A write costs a shallow copy, a header map and the key. A response of 400 or above that is repeated, or whose error
somebody asks for, costs a goroutine for as long as its beginning is read: up to 64 KiB or 50 ms, to leave the connection reusable and
for the error's code and request id. Those who ask are a logger that is enabled, an observer, a report, [Policy.Retryable],
[Policy.HoldHost] for a 429, an [*Error], and a wait that follows a Retry-After or a body over 4 KiB; for nobody else is the error
parsed. State is kept for the 1,024 hosts that were used last: 1 KiB for each in the breaker, and about 300 bytes in the budget for
one whose bucket is not full.
*/
package retry

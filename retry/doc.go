/*
Package retry is the client's side of the specification: an [http.RoundTripper] that retries what
another attempt can heal, and a write only under an Idempotency-Key. It never sleeps when the next
attempt would come too late. In an outage it adds a tenth of load, not a multiple.

	client := &http.Client{Transport: &retry.Transport{}}

That is all there is to adopt for calls to servers that honor Idempotency-Key. For other servers see
[KeysCallerOnly]. Requests are made as before. Make the client once and share it.

If an SDK uses the client, turn the SDK's own retries off, or give each write its key. An SDK that
retries above a Transport makes a new call for each of its attempts. The Transport gives each of these
a new key, and the write can run twice. The README lists what some SDKs need.

# What is retried

A call has at most three attempts. The Transport retries a status 429, a status from 500 to 599 (but
501, which never heals), and a failure of the connection. Before the second attempt it waits for a time
drawn from [0, 100 ms], before the third for one drawn from [0, 200 ms], and so on: exponential backoff
with full jitter. If the server names a time in Retry-After, in seconds or as a date, the wait is that
and a little more. Retry-After-Ms makes it more precise. Other statuses are not retried: the result
would be the same. X-Should-Retry: false is obeyed; true changes nothing.

A read (GET, HEAD, OPTIONS, TRACE) can be retried as it is. A write is retried only under an
Idempotency-Key, which makes a server of the specification carry it out once and answer the retry with
the first result. A Transport gives every POST, PUT, PATCH and DELETE its own key, from the first
attempt on, unless the request has the caller's. The key stays the same on every attempt, and on a
redirect that [http.Client] follows with the same method (307, 308), to another host too.

	req.Header.Set("Idempotency-Key", "order-4711")                 // or, if the header is out of reach:
	ctx = retry.WithIdempotencyKey(ctx, "order-4711")

A server that does not know the header would carry a retried write out again. For such a server set
[Policy.Keys] to [KeysCallerOnly]. A write without the caller's own key is then sent once, unless no
connection could be made.

A body can be sent again if the request has a GetBody. [http.NewRequest] sets it for bytes and strings.
Any other body streams and is sent once, unless [Policy.RecordBody] is set. So under an
[net/http/httputil.ReverseProxy], whose requests have no GetBody, nothing with a body is retried unless
RecordBody is set.

MaxAttempts counts what the Transport sends. [http.Transport] itself sends a request once more if a
connection that it reused turns out to be dead. A server can then see one request more.

# When it stops

The call ends as soon as another attempt is not worth its wait: when the server asks for more than
[Policy.MaxRetryAfter], when the context's deadline comes before the attempt could, when the [Budget] is
used up, when the [Breaker] is open. It ends when the caller gives up: when the context ends, or when
Request.Cancel is closed, as the timer of [http.Client.Timeout] does.

If the last attempt had a response, whatever its status, the caller gets it, as it comes from the
server, with a nil error. So error handling needs to know nothing of retries:

	resp, err := client.Do(req)
	if err == nil {
		err = apierror.Parse(resp)
	}

With the response's header the call is over. A body that breaks off later is an error of its reader.

If the last attempt had no response, RoundTrip returns an [*Error]. It unwraps to what the network said,
to the context's error and cause if that ended the call, and to [ErrCircuitOpen] if the breaker did.
An [http.Client] wraps it in a [*net/url.Error]; if its Timeout ended the call, it returns its own timeout
error instead, which holds the text alone. [Reason] enumerates the answers to "why was this not
retried". [WithReport] tells the reason for every call, also for one that succeeded or timed out.

# Outages

Retries are what turns a short outage into a long one: three retries for every call are four times the
load, on a server that could not bear one. Two things stand against it, for every host by itself, and both
are on by default.

A [Budget] lets retries be at most a tenth of the successes, beside a burst of ten and one in ten
seconds. A first attempt needs no budget. A [Breaker] stops sending to a host on which half of at
least 20 attempts in ten seconds failed, or the last 10 to 20 of them. Then it lets a single
attempt through after 200 ms at most, and further ones less and less often, up to one a second.
The first that succeeds ends the outage, so a host that is well again is used again within about a
second. [Breaker] has the rules in full.

Both are kept by the scheme, host and port of a request. If a service has a thousand hosts, or a host a
thousand tenants, [Transport.Group] says what belongs together. [Breaker.Circuit] and
[Breaker.Circuits] show the state. [Breaker.Hold] stops all requests to a group by hand, for a
maintenance, and [Breaker.Reset] ends that.

The other side of this: while a server fails a fifth of all requests for minutes, half of these are
recovered and the others are not. To recover more, at the server's expense, set [Budget.PerSuccess]. And
a server that accepts connections and never answers is seen as failing only if [Policy.AttemptTimeout] is
set, since the caller's own deadline says nothing about the server.

# Composing

Base sends a single attempt. What has to be done for every attempt, such as signing or tracing it, is a
RoundTripper in Base. What has to be done for a call goes around the Transport. [Transport.Pace] spaces
attempts out to stay under a known limit. [Policy.HoldHost] makes one request's 429 hold back the others
with the same credentials.

A Transport further in that has given up is not retried by one further out, so two of them do not
multiply their attempts.

[WithPolicy] overrides the [Policy] for one call, and [WithoutRetry] switches retries off. [Do] follows a
policy for work that is not one HTTP request. A Policy does not know who shares it, so give it a Budget
there.

Options follow one rule: the zero value is the default, and a negative value switches a thing off.

# Performance

A read that succeeds at the first attempt is sent as the caller's own request, without a copy, a
goroutine or a timer: one allocation, the breaker's. A write costs a shallow copy, a header map and the
key.

A response that is retried is thrown away. Before, a goroutine reads up to 64 KiB of it for up to 50 ms,
which leaves the connection reusable and tells the error's code and request id. Nothing is read of a
response that is handed back, so its code is unknown to logs, events and reports; the caller has it from
[apierror.Parse]. [Policy.Retryable] and [Policy.HoldHost] are the exceptions: see there.

State is kept for at most 1,024 groups of requests: 1 KiB for each in the breaker, and about 200 bytes
in the budget for one whose bucket is not full. A flood of invented hosts takes the places of closed
circuits and full buckets first.
*/
package retry

// Package seawall gives a net/http service the conventions that good APIs share: every failure
// is answered with an error object that has a request id, and nothing that goes wrong below the
// chain passes for a success.
//
// It is a chain of middleware. A [Middleware] is a func(http.Handler) http.Handler, so each
// piece fits into any chain of anyone's, and anyone's fits in here. The error type and how it
// goes over the wire are in package [apierror]; its siblings ratelimit, idempotent and retry
// limit requests, make writes safe to repeat, and call such services well.
//
// # A handler that may fail
//
// Handlers return their errors, and the chain does the rest:
//
//	func create(w http.ResponseWriter, r *http.Request) error {
//		name := r.FormValue("name")
//		if name == "" {
//			return apierror.ParameterMissing("name") // 400
//		}
//		return save(r.Context(), name) // 500 for what nobody named; 504 when the deadline has passed
//	}
//
//	mux.Handle("POST /v1/resources", apierror.HandlerFunc(create))
//
// Handlers of the ordinary kind may stay as they are. What they write themselves, an http.Error
// say, goes out as it is.
//
// # Each piece alone
//
//   - [RequestID] gives each request an id: in its context, in both headers of every response,
//     in every error object. [ForwardRequestID] takes it along on calls to other services.
//   - [AccessLog] writes one line per request.
//   - [Recover] answers a panic with 500, or cuts the response off if it had begun.
//   - [Timeout] sets the deadline of the request's context.
//   - [MaxBody] bounds the request's body, [MaxInFlight] the requests that run at once.
//   - [WrapMux] turns the 404 and 405 of a [http.ServeMux] into error objects.
//   - [Chain] makes one middleware of several.
//
// None needs another one. They find each other where they are together: the id is made once and
// used by all, there is one tracker of the response, and a chain inside of a chain keeps the
// outer one's id.
//
// # The whole stack
//
// [Stack] puts them, and what the service brings, into the order that works:
//
//	stack := &seawall.Stack{
//		Logger:       logger,
//		Timeout:      10 * time.Second,
//		MaxBody:      1 << 20,
//		MaxInFlight:  1000,
//		Authenticate: authenticate, // the service's own: it calls WithPrincipal
//		RateLimit:    ratelimit.New(ratelimit.NewMemory(nil), nil, perKey),
//		Idempotency:  idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
//	}
//	server := &http.Server{Addr: addr, Handler: stack.Handler(mux), ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second}
//	server.ListenAndServe()
//
// A field that is not set is a piece that is not there. Its Skip exempts health checks and the
// like from all bounds, limits and idempotency, but not from authentication, which has to let
// them through itself; its NoTimeout exempts streams from the time-out alone.
//
// # The order, and why
//
// The request id is outermost, because everything below names it. The access log is next, and
// sees the status that really went out: recovery is inside of it. Below recovery anything may
// panic, also what the service brings. The time-out holds for all that follows, the wait of a
// limiter too. A body that is too large and a server that is full are refused before anything is
// looked up. An address limit stands in front of authentication, as keys that are made up are a
// flood of an address; the rate limit stands behind it, as it goes by principal. Idempotency is
// innermost: a 401 or a 429 must never become what a key answers from then on.
//
// A [http.ServeMux] inside of a mux answers its own 404 as plain text: wrap it in a [WrapMux]
// of its own.
//
// # What is logged
//
// One line per request, at level Info, with the attributes that [AccessLog] lists. There is the
// route's pattern, and neither path nor query, header or body: they hold ids, keys and tokens.
// [AccessLogOptions].Attrs adds what a service wants to see.
//
// One record for each failure that is the service's fault: a panic with its stack ([Recover]),
// an error of a 5xx status with its cause ([apierror.Renderer]), an error that came when the
// response had begun. The client's own mistakes have their code in the access log and no record.
// All have the request id that the client got: it is what support asks for. What ratelimit and
// idempotent have to say goes to the Logger of their own options.
//
// A request that was canceled before it was answered counts as 499, and it is nobody's fault.
//
// # Responses that have begun
//
// A status cannot be taken back. When a handler returns an error or panics after its response
// has begun, one rule decides what happens to the response:
//
//   - A complete response stands. It is complete if its status or method allows no body, or if
//     as many bytes were written as its Content-Length says.
//   - An incomplete response is aborted, so that the client sees a failure and not a body that
//     ends early: the connection is closed, and over HTTP/2 the stream is reset.
//   - There is one exception: if the handler returns an error after it has begun a 4xx or 5xx
//     response, the response stands, because the client knows already that the request failed. A
//     panic aborts that too.
//
// A response without a Content-Length is incomplete until the handler returns nil, whatever its
// status: a 201, say. Set Content-Length, or do nothing that may fail after the first byte.
//
// # Middleware that lives with it
//
// Any middleware does. Five things to know:
//
// Errors. Refuse a request with apierror.Write(w, r, err), and the refusal looks as all others
// do. To learn what was answered, for metrics say, call [ErrorFrom] when the handler has
// returned. The middleware must be inside of a RequestID for that; one that belongs around the
// whole Stack goes between:
//
//	seawall.Chain(seawall.RequestID(nil), metrics)(stack.Handler(mux))
//
// Writers. Middleware that wraps the ResponseWriter should have an Unwrap method, as
// [http.ResponseController] asks for. Without one [MaxBody] cannot close the connection of a
// client that sends too much, and an error that is written by hand does not see what has gone
// out already. A compressor may set Content-Encoding at once or with the status; the error
// object is compressed like any other body.
//
// Values. Authentication says whom it found with [WithPrincipal]; everything further in knows by
// [Principal], and so do middleware and [AccessLogOptions].Attrs further out.
//
// Browsers. What answers CORS preflights belongs around the Stack: they carry no API key. Let
// pages of other origins send Authorization, Content-Type and Idempotency-Key
// (Access-Control-Allow-Headers), and read Request-Id, Retry-After, X-Should-Retry, RateLimit,
// RateLimit-Policy, Idempotent-Replayed and Original-Request (Access-Control-Expose-Headers).
//
// Proxies. An httputil.ReverseProxy adds the headers that it gets to those that are there: its
// ModifyResponse should delete the ids of the service behind it. The default ErrorHandler
// answers a service that cannot be reached with 502 and no body. Write the error object instead:
//
//	ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
//		apierror.Write(w, r, apierror.ServiceUnavailable(time.Second).WithCause(err))
//	},
//
// An error of a canceled request counts as 499 with it too, because the cause says so.
//
// # Streaming and other connections
//
// The ResponseWriter that handlers get has what the one below it has: http.Flusher everywhere,
// http.Hijacker and io.ReaderFrom (sendfile) over HTTP/1, and everything that
// http.ResponseController does. Nothing is buffered, and no piece starts a goroutine. (But for a
// request with an Idempotency-Key: package idempotent records an answer before it sends it,
// unless the handler says idempotent.Stream.) A hijacked connection is the handler's: nobody
// writes to it, its status is logged as 0.
//
// [Timeout] interrupts nobody. A handler that watches its context ends in time; to have one that
// does not cut off, use http.TimeoutHandler, inside or outside of the chain, and pay for its
// buffer.
//
// Nor does it end the wait for a client that sends its body slowly, or never, or that does not
// take its answer: such clients hold places of [MaxInFlight] for as long as they like, unless
// the http.Server has a ReadTimeout and a WriteTimeout. Streams move theirs with
// http.ResponseController.
//
// # HTTP/2
//
// All of the above holds for HTTP/1 and HTTP/2 alike, and is tested for both. Only hijacking and
// Connection: close are HTTP/1's alone.
//
// # Cost
//
// Request id, context, both headers and tracker are five allocations per request, whatever the
// number of pieces; recovery is none. The mux is asked twice for the route, by [WrapMux], which
// knows in advance what the mux would answer.
package seawall

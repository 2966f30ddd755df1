// Package seawall gives a net/http service the conventions that good APIs share: every
// request has an id, every error is sent as an error object, and no failure is mistaken for
// a success.
//
// Its parts are ordinary middleware, of type func(http.Handler) http.Handler. They work
// alone, together, and with the middleware of other packages. Package [apierror] defines
// the errors and writes them. Package ratelimit limits requests, package idempotent makes
// writes safe to retry, and package retry calls services that follow the same conventions.
//
// # Getting started
//
// Handlers return their errors:
//
//	func create(w http.ResponseWriter, r *http.Request) error {
//		name := r.FormValue("name")
//		if name == "" {
//			return apierror.ParameterMissing("name") // 400
//		}
//		return save(r.Context(), name) // 500 for an unknown error, 504 after the deadline
//	}
//
// A [Stack] around the mux does the rest:
//
//	mux := http.NewServeMux()
//	mux.Handle("POST /v1/resources", apierror.HandlerFunc(create))
//	rule := ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByPrincipal}
//	stack := &seawall.Stack{
//		Timeout:      10 * time.Second,
//		MaxBody:      1 << 20,
//		MaxInFlight:  1000,
//		Authenticate: authenticate, // written by you: see WithPrincipal
//		RateLimit:    ratelimit.New(ratelimit.NewMemory(nil), nil, rule),
//		Idempotency:  idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
//	}
//	server := &http.Server{
//		Addr:         addr,
//		Handler:      stack.Handler(mux),
//		ReadTimeout:  10 * time.Second,
//		WriteTimeout: 20 * time.Second,
//	}
//	log.Fatal(server.ListenAndServe())
//
// A Stack leaves out the parts whose fields are not set. The documentation of Stack gives
// the order of the parts. Ordinary handlers work too. A response that they write
// themselves, for example with http.Error, is sent as it is.
//
// # The parts
//
// [RequestID], [AccessLog], [Recover], [Timeout], [MaxBody], [MaxInFlight] and [WrapMux]
// can each be used alone. [Chain] combines middleware. Parts that are used together share
// the request's id and one record of its response. A Stack inside another Stack keeps the
// outer Stack's id.
//
// # Logging
//
// [AccessLog] writes one line for each request. It contains the route's pattern, but no path,
// query, header or body, because they hold ids, keys and tokens.
//
// Each failure that is the service's fault also gets its own record. Such failures are a
// panic (logged with its stack), a 500, any other 5xx that has a cause, and an error that
// came after the response had begun. A client's mistake gets no such record: its code is in
// the access log. Every record has the request id that the client received. A request that
// was canceled before it was answered is logged as 499, and not as an error.
//
// # Responses that have begun
//
// A status cannot be taken back. When a handler returns an error or panics after its response
// has begun, the response is handled as follows:
//
//   - A complete response stands. It is complete if its status or method allows no body, or if
//     it has as many bytes as its Content-Length says.
//   - An incomplete response is aborted, except in the case below, so that the client sees
//     a failure and not a short body: the connection is closed, or over HTTP/2 the stream
//     is reset.
//   - If the handler returns an error after it has begun a 4xx or 5xx response, that response
//     stands, because the client already knows that the request failed. A panic aborts it.
//
// A response without a Content-Length is incomplete until its handler returns nil. Set the
// Content-Length, or do nothing that can fail after the first byte.
//
// # Writing middleware
//
// Refuse a request with [apierror.Write], so that the refusal looks like all others. To
// learn which error was sent, call [ErrorFrom] when the handler has returned. Middleware
// that belongs around the whole Stack and needs the id or the error must be inside a
// RequestID:
//
//	seawall.Chain(seawall.RequestID(nil), metrics)(stack.Handler(mux))
//
// Authentication stores the principal with [WithPrincipal], and everything further in reads
// it with [Principal].
//
// Middleware that wraps the http.ResponseWriter should have an Unwrap method, as
// [http.ResponseController] requires. Without it, [MaxBody] cannot close the connection of a
// client that sends too much, and [apierror.Write] cannot see that a response has begun. A
// compressor compresses error objects like all other bodies.
//
// Middleware that answers CORS preflights belongs around the Stack, because preflights
// carry no API key. Allow the request headers Authorization, Content-Type and
// Idempotency-Key, and expose Request-Id, Retry-After, Retry-After-Ms, X-Should-Retry,
// RateLimit, RateLimit-Policy, Idempotent-Replayed and Original-Request.
//
// # Reverse proxies
//
// The ModifyResponse of an httputil.ReverseProxy should delete Request-Id and X-Request-Id,
// because the proxy adds the headers of the service behind it to those of the Stack. Its
// ErrorHandler should write the error object:
//
//	ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
//		apierror.Write(w, r, apierror.ServiceUnavailable(time.Second).WithCause(err))
//	},
//
// # Streaming and slow clients
//
// The http.ResponseWriter of a handler keeps the optional interfaces of the server's
// writer: http.Flusher, http.CloseNotifier and, over HTTP/1, http.Hijacker and io.ReaderFrom
// (for sendfile). Everything that http.ResponseController does works too. The parts buffer
// nothing and start no goroutine. Package idempotent does buffer: it records the response
// to a request with a key before it sends it. A hijacked connection belongs to the handler,
// and its status is logged as 0.
//
// [Timeout] does not interrupt a handler that ignores its context, nor the wait for a
// client that sends its body or reads its response slowly. Such clients hold the slots of
// [MaxInFlight] unless the http.Server has a ReadTimeout and a WriteTimeout.
//
// # Performance
//
// [RequestID] and [Recover] together cost five allocations for each request. [WithPrincipal]
// adds three, [WrapMux] one and [Timeout] five.
package seawall

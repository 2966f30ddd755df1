package interop_test

import (
	"fmt"
	"net/http"
	"testing"

	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/labstack/echo/v4"
)

// composition is the service with code of another project around or inside the chain.
type composition struct {
	name  string
	build func(*testing.T, *service) http.Handler

	// compresses says where large bodies are compressed: "outside" or "inside" the chain.
	// It is empty if they are not. If outside, the access log counts bytes before
	// compression.
	compresses string

	// field is a header field that each response must have.
	field string

	// exceptions are the aspects of requests that are known to be wrong, as
	// "request/aspect", with the reasons. A star means every request. The test fails if
	// one of the aspects is right.
	exceptions map[string]string
}

var compositions = []composition{
	{name: "nothing", build: outside(func(next http.Handler) http.Handler { return next })},

	{name: "gorilla CompressHandler outside", build: outside(handlers.CompressHandler), compresses: "outside"},
	{
		name: "gorilla CompressHandler inside", build: inside(handlers.CompressHandler), compresses: "inside",
		exceptions: map[string]string{
			"panic/status":   closesEarly,
			"panic/header":   closesEarly,
			"panic/log":      closesEarly,
			"panic/log code": closesEarly,
		},
	},
	{name: "gzhttp outside", build: outside(gzhttpHandler), compresses: "outside"},
	{name: "gzhttp inside", build: inside(gzhttpHandler), compresses: "inside"},
	{
		name: "chi Compress outside", build: outside(chimiddleware.Compress(5)), compresses: "outside",
		exceptions: map[string]string{
			"early hints/encoding": chiInformed,
		},
	},
	{
		name: "chi Compress inside", build: inside(chimiddleware.Compress(5)), compresses: "inside",
		exceptions: map[string]string{
			"early hints/encoding": chiInformed,
		},
	},

	{name: "otelhttp outside", build: traced(outside)},
	{name: "otelhttp inside", build: traced(inside)},
	{
		name: "sentry inside", build: inside(withSentry),
		exceptions: map[string]string{
			"upload/files": servesCopy,
		},
	},
	{
		name: "sentry before Authenticate",
		build: func(_ *testing.T, s *service) http.Handler {
			s.stack.Authenticate = withSentry
			return s.chain(s.mux())
		},
		exceptions: map[string]string{
			"upload/files": servesCopy,
		},
	},
	{name: "cors outside", build: outside(allowOrigin), field: "Access-Control-Allow-Origin"},
	{name: "cors inside", build: inside(allowOrigin)},

	{
		name: "TimeoutHandler outside", build: outside(timeoutHandler),
		exceptions: map[string]string{
			"upload/files": servesCopy,
		},
	},
	{
		name: "TimeoutHandler inside", build: inside(timeoutHandler),
		exceptions: map[string]string{
			"upload/files": servesCopy,
			"torn/status":  "its buffer was not sent yet, so the answer is a complete 500",
			"torn/body":    "see the status",
			"torn/log":     "see the status",
		},
	},

	{name: "ReverseProxy outside", build: proxyOutside},
	{
		name: "ReverseProxy inside", build: proxyInside,
		exceptions: map[string]string{
			"*/pattern":     behindProxy,
			"*/log pattern": behindProxy,
			"*/log code":    behindProxy,
		},
	},

	{
		name: "gorilla RecoveryHandler outside", build: outside(recoveryHandler),
		exceptions: map[string]string{
			"torn/body": "it recovers http.ErrAbortHandler too, and net/http then ends the response as if it were complete",
		},
	},
	{
		name: "gorilla RecoveryHandler inside", build: inside(recoveryHandler),
		exceptions: map[string]string{
			"panic/body":     recovers,
			"panic/header":   recovers,
			"panic/log code": recovers,
			"torn/body":      recovers,
			"torn/log":       recovers,
		},
	},
	{name: "gorilla ProxyHeaders outside", build: outside(handlers.ProxyHeaders)},

	{
		name: "chi outside", build: func(_ *testing.T, s *service) http.Handler { return chiRouter(s, s.chain) },
		exceptions: map[string]string{
			"upload/files":        servesCopy,
			"wrong method/header": noMethods,
		},
	},
	{name: "echo inside", build: func(_ *testing.T, s *service) http.Handler { return s.chain(echoRouter(s)) }},
	{name: "echo outside", build: func(_ *testing.T, s *service) http.Handler {
		return echoRouter(s, echo.WrapMiddleware(s.chain))
	}},
}

// The reasons for exceptions that several compositions have.
const (
	closesEarly = "a panic makes it send an empty gzip stream with status 200 before Recover sees the panic; " +
		"Recover can only abort, and a response to HEAD is already complete"
	chiInformed = "it mistakes a 1xx for the final status, and does not compress the body"
	servesCopy  = "it serves a copy of the request, so net/http does not see the form; it does so without the chain too"
	behindProxy = "only the server behind the proxy knows the route and the error"
	recovers    = "it answers panics itself, before Recover sees them"
	noMethods   = "it does not tell a custom handler which methods are allowed"
)

func TestChainWithOtherProjects(t *testing.T) {
	t.Parallel()
	for _, c := range compositions {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(c.name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				c.run(t, protocol == "HTTP/2.0")
			})
		}
	}
}

func (c composition) run(t *testing.T, http2 bool) {
	s, found := newService(), problems{}
	t.Cleanup(func() { // when all servers are closed
		for _, name := range s.left() {
			found.add("upload", "files", "%s is left", name)
		}
		found.compare(t, c.exceptions)
	})
	server := startServer(t, c.build(t, s), http2)
	for _, req := range requests {
		for i, v := range variants {
			if v.head && (req.method != http.MethodGet || req.torn) {
				continue
			}
			key := fmt.Sprint("key_", i)
			if req.twice {
				ask(t, s, server, req, v.head, v.gzip, key)
			}
			a := ask(t, s, server, req, v.head, v.gzip, key)
			c.check(req, a, func(aspect, format string, args ...any) {
				found.add(req.name, aspect, v.name+": "+format, args...)
			})
		}
	}
}

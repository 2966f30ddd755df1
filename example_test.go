package seawall_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

// show prints what a handler answers to a request, with the id that every example's request has.
func show(h http.Handler, method, path, body string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Request-Id", "req_example")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
}

// gateway tells that a request came through the service's own gateway, which has given it an id.
func gateway(*http.Request) bool { return true }

var silent = slog.New(slog.DiscardHandler)

func Example() {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/resources", apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		name := r.FormValue("name")
		if name == "" {
			return apierror.ParameterMissing("name")
		}
		_, err := fmt.Fprintf(w, `{"name":%q}`, name)
		return err
	}))
	stack := &seawall.Stack{Logger: silent, RequestID: &seawall.RequestIDOptions{Inbound: gateway}, Timeout: 10 * time.Second, MaxBody: 1 << 20}
	api := stack.Handler(mux)

	show(api, http.MethodPost, "/v1/resources?name=first", "")
	show(api, http.MethodPost, "/v1/resources", "")
	show(api, http.MethodGet, "/v1/resources", "")
	show(api, http.MethodGet, "/v2", "")

	// Output:
	// 200 {"name":"first"}
	// 400 {"error":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: name.","param":"name","request_id":"req_example"}}
	// 405 {"error":{"type":"invalid_request_error","code":"method_not_allowed","message":"The resource does not support this method.","request_id":"req_example"}}
	// 404 {"error":{"type":"invalid_request_error","code":"resource_missing","message":"The requested URL does not exist.","request_id":"req_example"}}
}

// A stack with an authentication of the service's own, and a health check that needs none of the
// limits.
func ExampleStack() {
	accounts := map[string]string{"Bearer key_1": "acct_1"}
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			account := accounts[r.Header.Get("Authorization")]
			if account == "" && r.URL.Path != "/health" {
				apierror.Write(w, r, apierror.CodeAuthenticationFailed)
				return
			}
			next.ServeHTTP(w, seawall.WithPrincipal(r, account))
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "healthy") })
	mux.HandleFunc("GET /v1/account", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, seawall.Principal(r.Context())) })

	stack := &seawall.Stack{
		Logger:       silent,
		RequestID:    &seawall.RequestIDOptions{Inbound: gateway},
		Timeout:      10 * time.Second,
		MaxBody:      1 << 20,
		MaxInFlight:  1000,
		Authenticate: authenticate,
		Skip:         func(r *http.Request) bool { return r.URL.Path == "/health" },
	}

	show(stack.Handler(mux), http.MethodGet, "/health", "")
	show(stack.Handler(mux), http.MethodGet, "/v1/account", "")

	// Output:
	// 200 healthy
	// 401 {"error":{"type":"authentication_error","code":"authentication_failed","message":"No valid API key was provided.","request_id":"req_example"}}
}

// The first middleware is the outermost.
func ExampleChain() {
	say := func(name string) seawall.Middleware {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Println(name, "in")
				next.ServeHTTP(w, r)
				fmt.Println(name, "out")
			})
		}
	}
	hello := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fmt.Println("handler") })

	seawall.Chain(say("outer"), say("inner"))(hello).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	// Output:
	// outer in
	// inner in
	// handler
	// inner out
	// outer out
}

// The id is in the context, for logs, and in the response's headers.
func ExampleRequestID() {
	hello := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("handler:", len(apierror.RequestIDFrom(r.Context())), "characters")
	})
	w := httptest.NewRecorder()

	seawall.RequestID(nil)(hello).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	id := w.Header().Get("Request-Id")
	fmt.Println("client:", id[:4], len(id), id == w.Header().Get("X-Request-Id"))

	// Output:
	// handler: 20 characters
	// client: req_ 20 true
}

// Ids of a gateway of our own are kept; those of strangers are not.
func ExampleRequestIDOptions() {
	hello := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fmt.Println(apierror.RequestIDFrom(r.Context())) })
	h := seawall.RequestID(&seawall.RequestIDOptions{
		Inbound: func(r *http.Request) bool { return strings.HasPrefix(r.RemoteAddr, "192.0.2.") },
	})(hello)
	r := httptest.NewRequest(http.MethodGet, "/", nil) // from 192.0.2.1
	r.Header.Set("X-Request-Id", "gw-7f3a")

	h.ServeHTTP(httptest.NewRecorder(), r)

	// Output:
	// gw-7f3a
}

// One line per request, without path, query or headers.
func ExampleAccessLog() {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/resources/{id}", apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.ResourceMissing("resource")
	}))
	logger := slog.New(slog.NewTextHandler(stdout{}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "duration" { // they differ from run to run
			return slog.Attr{}
		}
		return a
	}}))
	h := seawall.Chain(
		seawall.RequestID(&seawall.RequestIDOptions{Inbound: gateway}),
		seawall.AccessLog(&seawall.AccessLogOptions{Logger: logger}),
	)(seawall.WrapMux(mux))
	r := httptest.NewRequest(http.MethodGet, "/v1/resources/res_1?token=hush", nil)
	r.Header.Set("X-Request-Id", "req_example")

	h.ServeHTTP(httptest.NewRecorder(), r)

	// Output:
	// level=INFO msg=request method=GET pattern="GET /v1/resources/{id}" status=404 bytes=126 request_id=req_example code=resource_missing
}

// What panics is answered, and the client learns nothing but whom to ask.
func ExampleRecover() {
	h := seawall.Chain(
		seawall.RequestID(&seawall.RequestIDOptions{Inbound: gateway}),
		seawall.Recover(silent),
	)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the password is swordfish") }))

	show(h, http.MethodGet, "/", "")

	// Output:
	// 500 {"error":{"type":"api_error","code":"api_error","message":"An unexpected error occurred on our side.","request_id":"req_example"}}
}

// The mux's own 404 and 405 are error objects; what handlers answer is theirs.
func ExampleWrapMux() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/page", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "not here", http.StatusNotFound) })
	h := seawall.RequestID(&seawall.RequestIDOptions{Inbound: gateway})(seawall.WrapMux(mux))

	show(h, http.MethodGet, "/v1/page", "")
	show(h, http.MethodGet, "/v1/other", "")

	// Output:
	// 404 not here
	// 404 {"error":{"type":"invalid_request_error","code":"resource_missing","message":"The requested URL does not exist.","request_id":"req_example"}}
}

// A handler that passes its context on learns of the deadline, and returns the error that it gets.
func ExampleTimeout() {
	query := func(r *http.Request) error { // some database
		<-r.Context().Done()
		return fmt.Errorf("query: %w", r.Context().Err())
	}
	h := seawall.Chain(
		seawall.RequestID(&seawall.RequestIDOptions{Inbound: gateway}),
		(&apierror.Renderer{Logger: silent}).Handler,
		seawall.Timeout(time.Millisecond),
	)(apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error { return query(r) }))

	show(h, http.MethodGet, "/", "")

	// Output:
	// 504 {"error":{"type":"api_error","code":"timeout","message":"The request took too long to process.","request_id":"req_example"}}
}

func ExampleMaxBody() {
	h := seawall.Chain(
		seawall.RequestID(&seawall.RequestIDOptions{Inbound: gateway}),
		seawall.MaxBody(16),
	)(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(w, r.Body)
		return err
	}))

	show(h, http.MethodPost, "/", "small enough")
	show(h, http.MethodPost, "/", "larger than the sixteen bytes that are allowed")

	// Output:
	// 200 small enough
	// 413 {"error":{"type":"invalid_request_error","code":"request_too_large","message":"The request body is larger than the 16 bytes allowed.","request_id":"req_example"}}
}

// Authentication says whom it found. Limits, idempotency keys and handlers go by that.
func ExampleWithPrincipal() {
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, seawall.WithPrincipal(r, "acct_1")) // looked up by the request's key
		})
	}
	h := authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("on behalf of", seawall.Principal(r.Context()))
	}))

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	// Output:
	// on behalf of acct_1
}

// One id for a request and for the calls that it makes.
func ExampleForwardRequestID() {
	billing := memhttp.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("billing was called for", r.Header.Get("X-Request-Id"))
	}))
	defer billing.Close()
	client := &http.Client{Transport: seawall.ForwardRequestID(billing.Transport())}

	shop := seawall.RequestID(&seawall.RequestIDOptions{Inbound: gateway})(apierror.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) error {
			call, err := http.NewRequestWithContext(r.Context(), http.MethodGet, billing.URL, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(call)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}))

	show(shop, http.MethodGet, "/", "")

	// Output:
	// billing was called for req_example
	// 200
}

// A gateway in front of a service that has request ids too: its own are there already. When the
// service cannot be reached, the gateway is not at fault: the answer is 503, and the cause is
// logged.
func Example_proxy() {
	service := memhttp.New((&seawall.Stack{Logger: silent, RequestID: &seawall.RequestIDOptions{Inbound: gateway}}).Handler(http.NewServeMux()))
	target, err := url.Parse(service.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	stack := &seawall.Stack{Logger: silent, RequestID: &seawall.RequestIDOptions{Inbound: gateway}}
	api := stack.Handler(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: seawall.ForwardRequestID(service.Transport()),
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Request-Id")
			resp.Header.Del("X-Request-Id")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			apierror.Write(w, r, apierror.ServiceUnavailable(time.Second).WithCause(err))
		},
	})

	show(api, http.MethodGet, "/nothing", "")
	service.Close()
	show(api, http.MethodGet, "/nothing", "")

	// Output:
	// 404 {"error":{"type":"invalid_request_error","code":"resource_missing","message":"The requested URL does not exist.","request_id":"req_example"}}
	// 503 {"error":{"type":"api_error","code":"service_unavailable","message":"The service is temporarily unavailable.","request_id":"req_example"}}
}

// Metrics of the service's own count what was answered. They stand inside of a RequestID, and
// around everything else.
func ExampleErrorFrom() {
	metrics := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if err := seawall.ErrorFrom(r.Context()); err != nil {
				fmt.Println("failed:", err.Code(), err.Status())
			}
		})
	}
	stack := &seawall.Stack{Logger: silent}
	h := seawall.Chain(seawall.RequestID(nil), metrics)(stack.Handler(http.NewServeMux()))

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/nothing", nil))

	// Output:
	// failed: resource_missing 404
}

// stdout is os.Stdout at the time of the call: examples change it.
type stdout struct{}

func (stdout) Write(p []byte) (int, error) { return fmt.Print(string(p)) }

package seawall_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

func Example() {
	create := func(w http.ResponseWriter, r *http.Request) error {
		name := r.FormValue("name")
		if name == "" {
			return apierror.ParameterMissing("name")
		}
		_, err := fmt.Fprintf(w, `{"name":%q}`, name)
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/resources", apierror.HandlerFunc(create))
	stack := &seawall.Stack{
		Logger:  slog.New(slog.DiscardHandler),
		Timeout: 10 * time.Second,
		MaxBody: 1 << 20,
	}
	api := stack.Handler(mux)

	for _, target := range []string{"/v1/resources?name=first", "/v1/resources", "/v2/resources"} {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodPost, target, nil))
		id := w.Header().Get("Request-Id") // differs from run to run
		fmt.Println(w.Code, strings.TrimSpace(strings.ReplaceAll(w.Body.String(), id, "req_1")))
	}

	// Output:
	// 200 {"name":"first"}
	// 400 {"error":{"type":"invalid_request_error","code":"parameter_missing","message":"Missing required parameter: name.","param":"name","request_id":"req_1"}}
	// 404 {"error":{"type":"invalid_request_error","code":"resource_missing","message":"The requested URL does not exist.","request_id":"req_1"}}
}

// This Stack uses the service's own authentication. The health check is exempt from it and
// from all limits.
func ExampleStack() {
	accounts := map[string]string{"key_1": "acct_1"}
	isHealthCheck := func(r *http.Request) bool { return r.URL.Path == "/health" }
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if isHealthCheck(r) {
				next.ServeHTTP(w, r)
				return
			}
			key, _ := seawall.APIKey(r)
			account, ok := accounts[key]
			if !ok {
				apierror.Write(w, r, apierror.CodeAuthenticationFailed)
				return
			}
			next.ServeHTTP(w, seawall.WithPrincipal(r, account))
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "healthy") })
	mux.HandleFunc("GET /v1/account", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, seawall.Principal(r.Context()))
	})
	stack := &seawall.Stack{
		Logger:       slog.New(slog.DiscardHandler),
		MaxInFlight:  1000,
		Authenticate: authenticate,
		Skip:         isHealthCheck,
	}
	api := stack.Handler(mux)

	get := func(path, key string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-Api-Key", key)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if err := apierror.Parse(w.Result()); err != nil {
			fmt.Println(w.Code, apierror.CodeOf(err))
			return
		}
		fmt.Println(w.Code, w.Body)
	}
	get("/health", "")
	get("/v1/account", "key_1")
	get("/v1/account", "invalid")

	// Output:
	// 200 healthy
	// 200 acct_1
	// 401 authentication_failed
}

// The first middleware is the outermost.
func ExampleChain() {
	traced := func(name string) seawall.Middleware {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Println(name, "begins")
				next.ServeHTTP(w, r)
				fmt.Println(name, "ends")
			})
		}
	}
	hello := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fmt.Println("hello") })

	h := seawall.Chain(traced("outer"), traced("inner"))(hello)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	// Output:
	// outer begins
	// inner begins
	// hello
	// inner ends
	// outer ends
}

// The handler finds the id in its context, and the client in the response.
func ExampleRequestID() {
	var id string
	h := seawall.RequestID(nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id = apierror.RequestIDFrom(r.Context())
	}))

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	fmt.Println(len(id), strings.HasPrefix(id, "req_"), w.Header().Get("Request-Id") == id)

	// Output:
	// 20 true true
}

// A service uses the ids that its own gateway has set, and no others.
func ExampleRequestIDOptions() {
	fromGateway := func(r *http.Request) bool { return strings.HasPrefix(r.RemoteAddr, "192.0.2.") }
	h := seawall.RequestID(&seawall.RequestIDOptions{Inbound: fromGateway})(http.NotFoundHandler())

	r := httptest.NewRequest(http.MethodGet, "/", nil) // from 192.0.2.1
	r.Header.Set("X-Request-Id", "gw-7f3a")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)

	fmt.Println(w.Header().Get("Request-Id"))

	// Output:
	// gw-7f3a
}

// A call that a service makes carries the id of the request that the service is answering.
func ExampleForwardRequestID() {
	billing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Request-Id"))
	}))
	defer billing.Close()
	client := &http.Client{Transport: seawall.ForwardRequestID(nil)}
	shop := seawall.RequestID(nil)(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		call, err := http.NewRequestWithContext(r.Context(), http.MethodGet, billing.URL, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(call)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(w, resp.Body)
		return err
	}))

	w := httptest.NewRecorder()
	shop.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	fmt.Println(w.Body.String() == w.Header().Get("Request-Id"))

	// Output:
	// true
}

// Attrs adds the service's own attributes to the line.
func ExampleAccessLog() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/resources/{id}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration" { // they differ from run to run
				return slog.Attr{}
			}
			return a
		},
	}))
	h := seawall.AccessLog(&seawall.AccessLogOptions{
		Logger: logger,
		Attrs: func(r *http.Request) []slog.Attr {
			return []slog.Attr{slog.String("user_agent", r.UserAgent())}
		},
	})(seawall.WrapMux(mux))

	r := httptest.NewRequest(http.MethodGet, "/v1/resources/res_1?token=secret", nil)
	r.Header.Set("User-Agent", "curl/8.5.0")
	h.ServeHTTP(httptest.NewRecorder(), r)

	// Output:
	// level=INFO msg=request method=GET pattern="GET /v1/resources/{id}" status=200 bytes=2 request_id="" user_agent=curl/8.5.0
}

// The client learns that something went wrong. Only the log says what it was.
func ExampleRecover() {
	logger := slog.New(slog.DiscardHandler)
	h := seawall.Recover(logger)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("the password is swordfish")
	}))

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	fmt.Println(w.Code, apierror.CodeOf(apierror.Parse(w.Result())))
	fmt.Println(strings.Contains(w.Body.String(), "swordfish"))

	// Output:
	// 500 api_error
	// false
}

// The mux's own 404 and 405 become error objects. Responses of handlers stay as they are.
func ExampleWrapMux() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such page", http.StatusNotFound)
	})
	h := seawall.WrapMux(mux)

	for _, path := range []string{"/page", "/other"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		fmt.Println(w.Code, w.Header().Get("Content-Type"))
	}

	// Output:
	// 404 text/plain; charset=utf-8
	// 404 application/json
}

// A handler that passes its context on gets an error when the deadline has passed, and returns it.
func ExampleTimeout() {
	query := func(ctx context.Context) error { // stands for a database query
		<-ctx.Done()
		return fmt.Errorf("query: %w", ctx.Err())
	}
	renderer := &apierror.Renderer{Logger: slog.New(slog.DiscardHandler)}
	h := seawall.Chain(renderer.Handler, seawall.Timeout(time.Millisecond))(apierror.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) error { return query(r.Context()) }))

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))

	fmt.Println(w.Code, apierror.CodeOf(apierror.Parse(w.Result())))

	// Output:
	// 504 timeout
}

// If the body is too large, reading it fails, and the handler returns that error.
func ExampleMaxBody() {
	h := seawall.MaxBody(16)(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(w, r.Body)
		return err
	}))

	for _, body := range []string{"small enough", "larger than sixteen bytes"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		fmt.Println(w.Code)
	}

	// Output:
	// 200
	// 413
}

// A second request is refused while the first one runs.
func ExampleMaxInFlight() {
	bound := seawall.MaxInFlight(1)
	second := bound(http.NotFoundHandler())
	first := bound(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w := httptest.NewRecorder()
		second.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Retry-After"))
	}))

	first.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	// Output:
	// 503 1
}

// A key may be sent in three ways. If there are two different keys, ok is false.
func ExampleAPIKey() {
	for _, header := range []http.Header{
		{"Authorization": {"Bearer key_1"}},
		{"Authorization": {"Basic a2V5XzE6"}}, // curl --user key_1:
		{"X-Api-Key": {"key_1"}},
		{"X-Api-Key": {"key_1"}, "Authorization": {"Bearer key_2"}},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = header
		key, ok := seawall.APIKey(r)
		fmt.Printf("%q %t\n", key, ok)
	}

	// Output:
	// "key_1" true
	// "key_1" true
	// "key_1" true
	// "" false
}

// Authentication stores the account that it found. Limits, idempotency keys and handlers use it.
func ExampleWithPrincipal() {
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			account := "acct_1" // found by the request's key
			next.ServeHTTP(w, seawall.WithPrincipal(r, account))
		})
	}
	h := authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("acting for", seawall.Principal(r.Context()))
	}))

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	// Output:
	// acting for acct_1
}

// Metrics outside of authentication learn the principal when the handler has returned.
func ExampleAuthenticatedAs() {
	metrics := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			fmt.Println("a request of", seawall.AuthenticatedAs(r.Context()))
		})
	}
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, seawall.WithPrincipal(r, "acct_1"))
		})
	}
	h := seawall.Chain(seawall.RequestID(nil), metrics, authenticate)(http.NotFoundHandler())

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))

	// Output:
	// a request of acct_1
}

// A router that does not set the pattern of its requests calls SetPattern.
func ExampleSetPattern() {
	router := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/resources/") {
			seawall.SetPattern(r, "GET /v1/resources/{id}")
		}
	})
	tracing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			fmt.Println(r.Pattern)
		})
	}
	h := seawall.Chain(tracing, seawall.RequestID(nil))(router)

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/resources/res_1", nil))

	// Output:
	// GET /v1/resources/{id}
}

// Metrics count the errors that were sent.
func ExampleErrorFrom() {
	metrics := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if err := seawall.ErrorFrom(r.Context()); err != nil {
				fmt.Println(err.Status(), err.Code())
			}
		})
	}
	stack := &seawall.Stack{Logger: slog.New(slog.DiscardHandler)}
	h := seawall.Chain(seawall.RequestID(nil), metrics)(stack.Handler(http.NewServeMux()))

	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/nothing", nil))

	// Output:
	// 404 resource_missing
}

// A reverse proxy removes the ids of the service behind it. If that service cannot be
// reached, the proxy answers 503.
func Example_proxy() {
	logger := slog.New(slog.DiscardHandler)
	service := httptest.NewServer((&seawall.Stack{Logger: logger}).Handler(http.NewServeMux()))
	target, err := url.Parse(service.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	stack := &seawall.Stack{Logger: logger}
	proxy := stack.Handler(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: seawall.ForwardRequestID(nil),
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Request-Id")
			resp.Header.Del("X-Request-Id")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			apierror.Write(w, r, apierror.ServiceUnavailable(time.Second).WithCause(err))
		},
	})

	get := func() {
		w := httptest.NewRecorder()
		proxy.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/nothing", nil))
		fmt.Println(w.Code, apierror.CodeOf(apierror.Parse(w.Result())), len(w.Header()["Request-Id"]))
	}
	get()
	service.Close()
	get()

	// Output:
	// 404 resource_missing 1
	// 503 service_unavailable 1
}

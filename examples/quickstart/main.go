// Command quickstart is a service and a client that follow the whole specification, in one
// process. Copy from main.go. In session.go, the client meets one kind of failure after
// another. The session prints what happens and checks it.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/retry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := session(ctx, os.Stdout) // your service calls serve here
	stop()
	if err != nil {
		log.Fatal("quickstart: ", err)
	}
}

// serve answers requests until ctx is done, and then finishes those that are in flight.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second) // more than the Timeout of a request
	defer cancel()
	return server.Shutdown(ctx)
}

type service struct {
	accounts  map[string]string                          // by Authorization header
	charge    func(ctx context.Context, cents int) error // the payment provider
	resources sync.Map                                   // by id
}

type resource struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// handler returns the service's routes inside a Stack. Their handlers return their errors.
func (s *service) handler(logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/resources", apierror.HandlerFunc(s.create))
	mux.Handle("GET /v1/resources/{id}", apierror.HandlerFunc(s.get))
	mux.Handle("DELETE /v1/resources/{id}", apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return apierror.CodePermissionDenied // a code is an error
	}))
	mux.Handle("POST /v1/charges", apierror.HandlerFunc(s.pay))
	return (&seawall.Stack{
		Logger:       logger,
		MaxBody:      1 << 20,
		Timeout:      10 * time.Second,
		Authenticate: s.authenticate,
		RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil,
			ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByPrincipal}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, &idempotent.Options{Logger: logger}),
	}).Handler(mux)
}

func (s *service) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, ok := s.accounts[r.Header.Get("Authorization")]
		if !ok {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
			return
		}
		next.ServeHTTP(w, seawall.WithPrincipal(r, account))
	})
}

func (s *service) create(w http.ResponseWriter, r *http.Request) error {
	var in resource
	if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
		return err
	}
	if in.Name == "" {
		return apierror.ParameterMissing("name")
	}
	in.ID = "res_" + rand.Text()
	s.resources.Store(in.ID, in)
	return writeJSON(w, http.StatusCreated, in)
}

func (s *service) get(w http.ResponseWriter, r *http.Request) error {
	found, ok := s.resources.Load(r.PathValue("id"))
	if !ok {
		return apierror.ResourceMissing("resource")
	}
	return writeJSON(w, http.StatusOK, found)
}

func (s *service) pay(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Cents int }
	if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
		return err
	}
	if err := idempotent.BeginEffect(r.Context()); err != nil { // a request that fails after this is not run again
		return err
	}
	if err := s.charge(r.Context(), in.Cents); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, in)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
}

// client calls the service.
type client struct {
	url, key string
	http     http.Client
}

func newClient(url, key string, logger *slog.Logger) *client {
	return &client{url, key, http.Client{Transport: &retry.Transport{Logger: logger}}}
}

// call sends in as JSON and reads the answer into out. It returns an error response as an
// *apierror.Error.
func (c *client) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := apierror.Parse(resp); err != nil {
		return resp.Header, err
	}
	return resp.Header, json.NewDecoder(resp.Body).Decode(out)
}

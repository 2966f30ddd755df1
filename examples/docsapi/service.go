package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// The paths that need no API key and count toward no limit.
const (
	healthPath = "/healthz"
	errorsPath = "/docs/errors"
)

// service is the API.
type service struct {
	config   config
	url      string // of this process
	logger   *slog.Logger
	keys     map[keyHash]apiKey
	store    *store
	redis    *redis.Client // nil without -redis
	draining atomic.Bool
}

// openService connects to the databases of a service. The caller closes it.
func openService(ctx context.Context, c config, url string, logger *slog.Logger) (*service, error) {
	s := &service{config: c, url: url, logger: logger, keys: demoKeys()}
	if c.redis != "" {
		o, err := redis.ParseURL(c.redis)
		if err != nil {
			return nil, err
		}
		o.ContextTimeoutEnabled = true // commands end with their context
		s.redis = redis.NewClient(o)
	}
	var err error
	if s.store, err = openStore(ctx, c, logger); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *service) close() error {
	var errs []error
	if s.store != nil {
		errs = append(errs, s.store.close())
	}
	if s.redis != nil {
		errs = append(errs, s.redis.Close())
	}
	return errors.Join(errs...)
}

// handler returns the routes inside a Stack.
func (s *service) handler() http.Handler {
	catalog := apierror.DefaultCatalog()
	if s.config.strict {
		catalog = apierror.CoreCatalog()
	}
	docs := reference.New(catalog, &reference.Options{Title: "Docs API errors"})

	mux := http.NewServeMux()
	mux.Handle("POST /v1/resources", apierror.HandlerFunc(s.create))
	mux.Handle("GET /v1/resources", apierror.HandlerFunc(s.list))
	mux.Handle("GET /v1/resources/{id}", apierror.HandlerFunc(s.get))
	mux.Handle("PATCH /v1/resources/{id}", apierror.HandlerFunc(s.update))
	mux.Handle("DELETE /v1/resources/{id}", apierror.HandlerFunc(s.delete))
	if s.config.faults {
		mux.Handle("GET /v1/fault/{kind}", apierror.HandlerFunc(s.fault))
	}
	mux.Handle("GET "+errorsPath, docs)
	mux.Handle("GET "+healthPath, apierror.HandlerFunc(s.health))

	limiter := s.limiter()
	perKey := ratelimit.Rule{Limit: ratelimit.PerSecond(s.config.rate), Key: ratelimit.ByPrincipal}
	// Behind a proxy, use ratelimit.ByForwardedFor, because all requests come from its address.
	perAddress := ratelimit.Rule{Name: "address", Limit: ratelimit.PerSecond(10 * s.config.rate), Key: ratelimit.ByRemoteAddr}
	hidden := func(*http.Request) bool { return true }
	stack := &seawall.Stack{
		Logger: s.logger,
		Renderer: &apierror.Renderer{
			Catalog: catalog,
			DocURL:  docs.DocURL(s.url + errorsPath),
			Strict:  s.config.strict,
			Map:     unavailable,
		},
		AccessLog:    &seawall.AccessLogOptions{Logger: s.logger, Attrs: logKey, Level: logLevel},
		Timeout:      s.config.timeout,
		MaxBody:      1 << 20,
		MaxInFlight:  1000,
		AddressLimit: ratelimit.New(limiter, &ratelimit.Options{NoFields: hidden, Logger: s.logger}, perAddress),
		Authenticate: s.authenticate,
		RateLimit:    ratelimit.New(limiter, &ratelimit.Options{Logger: s.logger}, perKey),
		Idempotency: seawall.Chain(requireScope, // first, because a key without the scope may not see replays
			idempotent.New(s.records(), idempotent.ByPrincipal, &idempotent.Options{Lease: s.config.lease, Logger: s.logger})),
		Skip: isPublic,
	}
	return stack.Handler(mux)
}

// limiter returns where the limits are counted: in Redis for all processes together, or in this
// process.
func (s *service) limiter() ratelimit.Limiter {
	if s.redis != nil {
		return redislimit.New(s.redis, &redislimit.Options{Prefix: "docsapi:limit:"})
	}
	return ratelimit.NewMemory(nil)
}

// records returns where the answers for idempotency keys are kept. An Executor keeps them in the
// transaction of the handler, so that a write happens exactly once, even if the process is killed.
// With Redis, it happens at most once: see store.write.
func (s *service) records() idempotent.Store {
	if s.config.keysInRedis() {
		return redisstore.New(s.redis, &redisstore.Options{Prefix: "docsapi:key:", Logger: s.logger})
	}
	return s.store.executor
}

func isPublic(r *http.Request) bool { return r.URL.Path == healthPath || r.URL.Path == errorsPath }

// logKey adds the id of the API key to the access log.
func logKey(r *http.Request) []slog.Attr {
	return []slog.Attr{slog.String("key", seawall.Principal(r.Context()))}
}

// logLevel leaves successful health checks out of the log.
func logLevel(r *http.Request, status int) slog.Level {
	if r.URL.Path == healthPath && status == http.StatusOK {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// health tells a load balancer whether to send requests to this process.
func (s *service) health(w http.ResponseWriter, r *http.Request) error {
	if s.draining.Load() {
		return apierror.ServiceUnavailable(time.Second).WithMessage("The server is shutting down.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := s.store.db.PingContext(ctx); err != nil {
		return apierror.ServiceUnavailable(time.Second).WithCause(err)
	}
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// server is the service.
type server struct {
	config   Config
	logger   *slog.Logger
	history  *history.Writer
	f        *failpoints
	payments *payments
	bug      Bug // its zero value is none
	runs     atomic.Int64

	store    idempotent.Store // with leases
	executor idempotent.Store // nil unless there is a database
	resolver idempotent.Resolver
	db       database // nil unless there is one
	redis    redis.UniversalClient
	stop     context.CancelFunc // ends what runs in the background
}

func openServer(ctx context.Context, c Config, w *history.Writer, logger *slog.Logger) (*server, error) {
	bug, err := bugNamed(c.Bug)
	if err != nil {
		return nil, err
	}
	s := &server{
		config: c, logger: logger, history: w, bug: bug,
		f: newFailpoints(c.Name, w), payments: newPayments(c.Provider),
	}
	ctx, s.stop = context.WithCancel(ctx)
	if err := s.openStore(ctx); err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", c.Store, err)
	}
	if s.bug.store != nil {
		s.store = s.bug.store(s, s.store)
	}
	if s.bug.background != nil {
		go s.bug.background(ctx, s)
	}
	s.store = withFaults(s.store, s.f)
	if s.executor != nil {
		s.executor = withFaults(s.executor, s.f)
	}
	return s, nil
}

func (s *server) openStore(ctx context.Context) error {
	if len(s.config.Addrs) == 0 && s.config.Store != stores.Memory {
		return errors.New("no address")
	}
	switch s.config.Store {
	case stores.Memory:
		m := idempotent.NewMemory(nil)
		s.store, s.resolver = m, m
	case stores.Redis, stores.RedisCluster, stores.RedisFailover:
		s.redis = s.openRedis()
		r := redisstore.New(s.redis, &redisstore.Options{Logger: s.logger})
		s.store, s.resolver = r, r
	case stores.PostgreSQL:
		d, err := openPostgreSQL(ctx, s.config.Addrs[0], s.logger)
		if err != nil {
			return err
		}
		s.db, s.store, s.executor, s.resolver = d, d.store, d.executor, d.store
	case stores.SQLite:
		d, err := openSQLite(s.config.Addrs[0])
		if err != nil {
			return err
		}
		s.db, s.store, s.executor, s.resolver = d, d.store, d.executor, d.store
	default:
		return errors.New("unknown store")
	}
	if s.db != nil {
		s.migrate(ctx)
	}
	return nil
}

func (s *server) openRedis() redis.UniversalClient {
	dialer := &net.Dialer{Timeout: StoreTimeout}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if via, ok := s.config.Via[addr]; ok {
			addr = via
		}
		return dialer.DialContext(ctx, network, addr)
	}
	if s.config.Store == stores.Redis {
		return redis.NewClient(&redis.Options{
			Addr: s.config.Addrs[0], Dialer: dial, PoolSize: 32, ContextTimeoutEnabled: true,
		})
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: s.config.Addrs, Dialer: dial, PoolSize: 32, ContextTimeoutEnabled: true,
	})
}

// migrate creates the tables. If the database is down for longer than a moment, migrate goes on in
// the background, so that the process serves, as a real one would.
func (s *server) migrate(ctx context.Context) {
	once := func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return s.db.migrate(ctx)
	}
	if once() == nil {
		return
	}
	go func() {
		for history.Sleep(ctx, StoreTimeout) && once() != nil {
			continue
		}
	}()
}

func (s *server) close() {
	s.stop()
	s.payments.close()
	if s.db != nil {
		s.db.close()
	}
	if s.redis != nil {
		_ = s.redis.Close()
	}
}

// handler returns the whole service.
func (s *server) handler() http.Handler {
	routes := http.NewServeMux()
	for _, way := range ways {
		if s.db != nil || !way.Transactional() {
			routes.Handle("POST /w/"+string(way), apierror.HandlerFunc(s.serveWay(way)))
		}
	}
	routes.Handle("POST /settle", apierror.HandlerFunc(s.serveSettle))
	stack := &seawall.Stack{
		Logger:      s.logger,
		Renderer:    &apierror.Renderer{Catalog: catalog, Logger: s.logger},
		Idempotency: s.idempotency(),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /chaos/arm", s.serveArm)
	mux.HandleFunc("DELETE /chaos/arm", s.serveDisarm)
	mux.HandleFunc("GET /chaos/vitals", s.serveVitals)
	mux.Handle("/", s.windowed(stack.Handler(routes)))
	return mux
}

// idempotency returns the middleware of the store with leases for all ways but Executor.
func (s *server) idempotency() seawall.Middleware {
	leased := idempotent.New(s.store, s.principal, s.options())
	if s.executor == nil {
		return leased
	}
	transactional := idempotent.New(s.executor, s.principal, s.options())
	return func(next http.Handler) http.Handler {
		one, other := transactional(next), leased(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if way, _ := wayOf(r.URL.Path); way == history.Executor {
				one.ServeHTTP(w, r)
			} else {
				other.ServeHTTP(w, r)
			}
		})
	}
}

func (s *server) options() *idempotent.Options {
	o := &idempotent.Options{
		Lease: Lease, StoreTimeout: StoreTimeout, Wait: Wait, MaxRun: MaxRun, MaxResponse: MaxResponse,
		Observe: s.observe, Logger: s.logger,
	}
	if s.bug.options != nil {
		s.bug.options(o)
	}
	return o
}

// principal is the ScopeFunc. A real service would authenticate.
func (s *server) principal(r *http.Request) (string, error) {
	p := r.Header.Get("X-Principal")
	switch {
	case p == "":
		return "", apierror.CodeAuthenticationFailed
	case s.bug.principal != "":
		return s.bug.principal, nil
	}
	return p, nil
}

// keyOf returns the key of the history.
func keyOf(principal, key string) string { return principal + "/" + key }

// wayOf returns the way of a path.
func wayOf(path string) (history.Way, bool) {
	way, ok := strings.CutPrefix(path, "/w/")
	return history.Way(way), ok
}

// nextRun returns the name of a run.
func (s *server) nextRun() string {
	return s.config.Name + "-" + strconv.FormatInt(s.runs.Add(1), 10)
}

// observe writes how a run ended, unless its response was recorded.
func (s *server) observe(ctx context.Context, e idempotent.Event) {
	c := callFrom(ctx)
	plain := e.Outcome == idempotent.OutcomeExecuted && e.Err == nil && !e.Lost && e.Status < 400
	if c == nil || c.run == "" || plain {
		return
	}
	end := history.End{Key: c.key, Run: c.run, Outcome: string(e.Outcome), Lost: e.Lost, Status: e.Status, At: history.Now()}
	if e.Err != nil {
		end.Err = e.Err.Error()
	}
	s.history.Write(history.Event{End: &end})
}

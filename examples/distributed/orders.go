package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// orders is a service that takes orders. All of its processes share what is in Redis.
type orders struct {
	name   string // of this process
	redis  redis.UniversalClient
	bank   string // the URL of another service
	logger *slog.Logger
}

// newRedis returns the client that the limiter and the store share.
func newRedis(addr string) redis.UniversalClient {
	return redis.NewClient(&redis.Options{
		Addr:                  addr,
		ContextTimeoutEnabled: true, // otherwise a command can outlive its caller for seconds
	})
}

// newLimiter returns the limiter. The session checks that the limit is exact, also on a slow
// machine. So Redis has more than the default of 50 milliseconds for each decision.
func newLimiter(client redis.UniversalClient) *redislimit.Limiter {
	return redislimit.New(client, &redislimit.Options{Timeout: 5 * time.Second})
}

func newStore(client redis.UniversalClient, logger *slog.Logger) *redisstore.Store {
	return redisstore.New(client, &redisstore.Options{Logger: logger})
}

// keyOptions have a short lease, because the session waits for its end, and do not let duplicates
// wait, because the session shows what they are told. By default, the lease is 30 seconds, and a
// duplicate waits for up to 10 seconds.
var keyOptions = &idempotent.Options{Lease: 2 * time.Second, Wait: -1}

// handler returns the service's routes inside a Stack.
func (s *orders) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/orders", apierror.HandlerFunc(s.list))
	mux.Handle("POST /v1/orders", apierror.HandlerFunc(s.create))
	stack := &seawall.Stack{
		Logger:       s.logger,
		MaxBody:      1 << 20,
		Timeout:      10 * time.Second,
		Authenticate: authenticate,
		// FailClosed is not the default. With it, the session notices if Redis fails.
		RateLimit: ratelimit.New(newLimiter(s.redis), &ratelimit.Options{OnFailure: ratelimit.FailClosed, Logger: s.logger},
			ratelimit.Rule{Limit: ratelimit.Per(20, time.Hour), Key: ratelimit.ByPrincipal}),
		Idempotency: idempotent.New(newStore(s.redis, s.logger), idempotent.ByPrincipal, keyOptions),
	}
	return named(s.name, stack.Handler(mux))
}

type order struct {
	ID    string `json:"id"`
	Item  string `json:"item"`
	Cents int    `json:"cents"`
	RunBy string `json:"run_by"` // the process whose handler ran
}

func (s *orders) list(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, []order{})
}

// create asks the bank twice. If the process dies during the first call, nothing has happened, and
// a retry can run. BeginEffect is the point of no return: after it, no retry charges the card
// again.
func (s *orders) create(w http.ResponseWriter, r *http.Request) error {
	var in order
	if err := apierror.DecodeJSON(w, r, &in, nil); err != nil {
		return err
	}
	if in.Item == "" {
		return apierror.ParameterMissing("item")
	}
	if err := s.ask(r.Context(), "/check", in); err != nil {
		return err
	}
	if err := idempotent.BeginEffect(r.Context()); err != nil {
		return err
	}
	if err := s.ask(r.Context(), "/charge", in); err != nil {
		return err
	}
	in.ID, in.RunBy = "ord_"+rand.Text(), s.name
	return writeJSON(w, http.StatusCreated, in)
}

// ask calls the bank.
func (s *orders) ask(ctx context.Context, path string, in order) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.bank+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the bank answered %s", resp.Status)
	}
	return nil
}

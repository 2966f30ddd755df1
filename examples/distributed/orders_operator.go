package main

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// These functions are for those who operate the service with Redis. Limiter and store have the
// service's options, because Redis keys depend on them. See docs/REDIS.md.

// bucketOf returns the rule and the key of the bucket of an account.
func bucketOf(account string) (rule, key string, err error) {
	r := seawall.WithPrincipal(&http.Request{}, account)
	key, err = ratelimit.ByPrincipal(r) // the Key of the rule
	return "default", key, err          // the Name of the rule
}

// free fills the bucket of an account. A process that has just denied the account may continue to
// deny it for a second.
func free(ctx context.Context, limiter *redislimit.Limiter, account string) error {
	rule, key, err := bucketOf(account)
	if err != nil {
		return err
	}
	return limiter.Reset(ctx, rule, key)
}

// settle ends a write whose outcome is unknown, when a person or a job has found out what happened:
// found is the order that exists, or nil if nothing was done.
func settle(ctx context.Context, store *redisstore.Store, account, idempotencyKey string, found *order) error {
	id := keyOptions.ID(account, idempotencyKey)
	if found == nil { // the next retry runs
		return store.Resolve(ctx, id, idempotent.Completion{State: idempotent.StateAbsent})
	}
	body, err := json.Marshal(found)
	if err != nil {
		return err
	}
	response := idempotent.Response{
		Status: http.StatusCreated,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   body,
	}
	return store.Resolve(ctx, id, response.Completion(24*time.Hour))
}

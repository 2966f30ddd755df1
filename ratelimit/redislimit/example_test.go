package redislimit_test

import (
	"net/http"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// All processes of a service share the limit of 100 requests per second and API key.
func Example() { //nolint:testableexamples // it needs a Redis server
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()

	limiter := redislimit.New(client, &redislimit.Options{Prefix: "payments:limits:"})
	limit := ratelimit.New(limiter, nil,
		ratelimit.Rule{Limit: ratelimit.PerSecond(100), Key: ratelimit.ByAPIKey})

	mux := http.NewServeMux()
	_ = http.Server{Addr: ":8080", Handler: limit(mux)}
}

// All processes of a service together run at most 20 requests of an account.
func ExampleNewSlots() { //nolint:testableexamples // it needs a Redis server
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()

	concurrent := ratelimit.MaxConcurrent(20, ratelimit.ByPrincipal, &ratelimit.ConcurrentOptions{
		Slots: redislimit.NewSlots(client, &redislimit.SlotsOptions{Prefix: "payments:slots:"}),
	})

	mux := http.NewServeMux()
	_ = http.Server{Addr: ":8080", Handler: concurrent(mux)}
}

package redisstore_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
)

//nolint:testableexamples // it needs a Redis at a fixed address
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	store := redisstore.New(client, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, r *http.Request) {
		if err := idempotent.BeginEffect(r.Context()); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		// Charge the customer here.
		w.WriteHeader(http.StatusCreated)
	})
	keyed := idempotent.New(store, idempotent.ByPrincipal, &idempotent.Options{Namespace: "payments"})
	err := http.ListenAndServe(":8080", keyed(mux))
	fmt.Println(err)
}

// A job settles the charges whose outcome is unknown.
//
//nolint:testableexamples // it needs a Redis at a fixed address
func ExampleStore_ListUnknown() {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"redis-1:6379", "redis-2:6379"}})
	defer client.Close()
	store := redisstore.New(client, nil)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	records, err := store.ListUnknown(ctx, idempotent.ID{}, 0)
	if err != nil {
		log.Print(err)
		return
	}
	for _, record := range records {
		fmt.Println("ask the bank about", record.ID)
		charged := idempotent.Response{Status: http.StatusCreated, Body: []byte("charged")}
		if err := store.Resolve(ctx, record.ID, charged.Completion(24*time.Hour)); err != nil {
			log.Print(err)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// This file is what both services need: orders.go and transfers.go are different without it.

// The API keys of the accounts acct_alice, acct_bob and acct_carol.
const (
	keyOfAlice = "sk_alice"
	keyOfBob   = "sk_bob"
	keyOfCarol = "sk_carol"
)

// accounts are the accounts by Authorization header.
var accounts = map[string]string{
	"Bearer " + keyOfAlice: "acct_alice",
	"Bearer " + keyOfBob:   "acct_bob",
	"Bearer " + keyOfCarol: "acct_carol",
}

func authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, ok := accounts[r.Header.Get("Authorization")]
		if !ok {
			apierror.Write(w, r, apierror.CodeAuthenticationFailed)
			return
		}
		next.ServeHTTP(w, seawall.WithPrincipal(r, account))
	})
}

// named tells the client which process has answered.
func named(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Served-By", name)
		next.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(v)
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

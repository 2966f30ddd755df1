package idempotent_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
)

// A retry gets the recorded response, and the handler does not run again.
func ExampleNew() {
	charges := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, _ *http.Request) {
		charges++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "charge %d", charges)
	})

	keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil)
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, _, _ := r.BasicAuth() // a real service checks the password
			next.ServeHTTP(w, seawall.WithPrincipal(r, user))
		})
	}
	handler := authenticate(keyed(mux))

	post := func(key string) {
		r := httptest.NewRequest(http.MethodPost, "/charges", nil)
		r.SetBasicAuth("alice", "password")
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body, w.Header().Get("Idempotent-Replayed") == "true")
	}
	post("key-1")
	post("key-1") // the response was lost, so the client tries again
	post("key-2")
	// Output:
	// 201 charge 1 false
	// 201 charge 1 true
	// 201 charge 2 false
}

// Log-in requests have no principal yet, so their keys are ignored.
func ExampleScopeFunc() {
	scope := func(r *http.Request) (string, error) {
		if r.URL.Path == "/login" {
			return "", idempotent.ErrIgnoreKey
		}
		return idempotent.ByPrincipal(r)
	}
	handler := idempotent.New(idempotent.NewMemory(nil), scope, nil)(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome") }))

	for _, path := range []string{"/login", "/charges"} {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Idempotency-Key", "key-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(path, w.Code)
	}
	// Output:
	// /login 200
	// /charges 401
}

// A custom Keep extends the default: the service answers 404 while an object is still being
// created, so a retry must run again.
func ExampleDefaultKeep() {
	options := &idempotent.Options{
		Keep: func(status int) bool {
			return status != http.StatusNotFound && idempotent.DefaultKeep(status)
		},
	}
	fmt.Println(options.Keep(http.StatusCreated))
	fmt.Println(options.Keep(http.StatusNotFound))
	fmt.Println(options.Keep(http.StatusServiceUnavailable))
	// Output:
	// true
	// false
	// false
}

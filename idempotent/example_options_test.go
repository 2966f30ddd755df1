package idempotent_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seawall-go/seawall/idempotent"
)

// Observe counts the requests with a key by their outcome.
func ExampleOptions_observe() {
	requests := make(map[idempotent.Outcome]int) // a real service uses its metrics library
	options := &idempotent.Options{
		Observe: func(_ context.Context, e idempotent.Event) { requests[e.Outcome]++ },
	}
	handler := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, options)(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") }))

	for _, key := range []string{"key-1", "key-1", "key-2", "not a key"} {
		r := httptest.NewRequest(http.MethodPost, "/charges", nil)
		r.Header.Set("Idempotency-Key", key)
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	fmt.Println(requests)
	// Output:
	// map[executed:2 refused:1 replayed:1]
}

package route_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seawall-go/seawall/internal/route"
)

func TestUnroutedOfAServeMux(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/orders/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /read", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /write", func(http.ResponseWriter, *http.Request) {})
	for target, want := range map[string]bool{
		"/orders/":   false,
		"/orders/1":  false,
		"/write":     false,
		"/orders":    true, // 307 to /orders/
		"//orders/1": true, // 307 to /orders/1
		"/read":      true, // 405
		"/unknown":   true, // 404
	} {
		r := httptest.NewRequest(http.MethodPost, "http://h"+target, nil)
		if got := route.Unrouted(mux, r); got != want {
			t.Errorf("%s: %t, want %t", target, got, want)
		}
	}
	if route.Unrouted(http.NotFoundHandler(), httptest.NewRequest(http.MethodPost, "/", nil)) {
		t.Error("something is known of any handler")
	}
}

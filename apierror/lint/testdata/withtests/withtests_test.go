package withtests

import (
	"net/http"
	"testing"
)

func TestClient(t *testing.T) {
	_ = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			http.Error(w, "broken", 500)
			return
		}
		handle(w, r)
	})
}

//go:build !race

package reference_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seawall-go/seawall/apierror/reference"
)

// bareWriter keeps nothing, so that only our allocations are counted.
type bareWriter struct{ h http.Header }

func (w *bareWriter) Header() http.Header         { return w.h }
func (w *bareWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *bareWriter) WriteHeader(int)             {}

func TestAllocsOfServingPage(t *testing.T) {
	docs := reference.New(nil, nil)
	w := &bareWriter{make(http.Header)}
	for target, budget := range map[string]float64{"/": 20, "/?format=json": 25} {
		r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
		docs.ServeHTTP(w, r) // renders the page
		n := testing.AllocsPerRun(100, func() {
			clear(w.h)
			docs.ServeHTTP(w, r)
		})
		t.Logf("%s: %v", target, n)
		if n > budget {
			t.Errorf("%s: %v is more than %v", target, n, budget)
		}
	}
}

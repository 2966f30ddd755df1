// Package bypass answers errors by hand.
package bypass

import (
	"net/http"
	"time"

	"example.com/shop/web"

	"github.com/seawall-go/seawall/apierror"
)

type statusRecorder struct {
	http.ResponseWriter
	status int
}

const failed = 500

func handlers(mux *http.ServeMux, next http.Handler) {
	mux.HandleFunc("/a", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no such order", http.StatusNotFound) // want `http.Error bypasses the catalog: return an error from an apierror.HandlerFunc, or call apierror.Write`
	})
	mux.HandleFunc("/b", func(w http.ResponseWriter, r *http.Request) {
		http.NotFound(w, r) // want `http.NotFound bypasses the catalog: return apierror.CodeResourceMissing from an apierror.HandlerFunc, or call apierror.Write`
	})
	mux.HandleFunc("/c", http.NotFound)                              // want `http.NotFound bypasses the catalog`
	mux.Handle("/d", http.NotFoundHandler())                         // want `http.NotFoundHandler bypasses the catalog: use an apierror.HandlerFunc that returns apierror.CodeResourceMissing`
	mux.Handle("/e", http.TimeoutHandler(next, time.Second, "slow")) // want `http.TimeoutHandler bypasses the catalog: use seawall.Timeout`
	mux.Handle("/f", apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusForbidden) // want `WriteHeader with status 403 bypasses the catalog: return an error from an apierror.HandlerFunc`
		return nil
	}))
}

func throughWrappers(w http.ResponseWriter, r *http.Request) {
	rec := &statusRecorder{ResponseWriter: w}
	switch r.URL.Path {
	case "/1":
		rec.WriteHeader(409) // want `WriteHeader with status 409 bypasses the catalog`
	case "/2":
		rec.ResponseWriter.WriteHeader(failed + 3) // want `WriteHeader with status 503 bypasses the catalog`
	case "/3":
		http.Error(rec, "teapot", statusOf(r)) // want `http.Error bypasses the catalog`
	}
}

func throughFunctions(w http.ResponseWriter) {
	web.Reply(w, http.StatusNotFound, "no such order") // want `web.Reply with status 404 bypasses the catalog: return an error`
	web.Text(w, "failed", 500)                         // want `web.Text with status 500 bypasses the catalog`
}

func ignoredWithoutReason(w http.ResponseWriter) {
	//apierror:ignore
	w.WriteHeader(500) // want `WriteHeader with status 500 bypasses the catalog: .* \(//apierror:ignore needs a reason\)`
}

func statusOf(*http.Request) int { return 418 }

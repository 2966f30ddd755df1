package retry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/retry"
)

func benchmark(b *testing.B, tr *retry.Transport, req *http.Request) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
}

// ok returns a base that answers 200 without a body.
func ok() baseFunc {
	resp := answer(200, "")
	resp.Body = http.NoBody
	return func(*http.Request) (*http.Response, error) { return resp, nil }
}

func BenchmarkGet(b *testing.B) { benchmark(b, transport(ok()), request(b, "GET", target, nil)) }

func BenchmarkPost(b *testing.B) {
	benchmark(b, transport(ok()), request(b, "POST", target, strings.NewReader("payload")))
}

func BenchmarkGetParallel(b *testing.B) {
	tr := transport(ok())
	req := request(b, "GET", target, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := tr.RoundTrip(req)
			if err != nil {
				b.Error(err)
				return
			}
			resp.Body.Close()
		}
	})
}

// BenchmarkRetry measures a call whose first attempt fails, without a wait.
func BenchmarkRetry(b *testing.B) {
	failed := false
	good := ok()
	tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
		failed = !failed
		if failed {
			return nil, errBroken
		}
		return good(r)
	}))
	tr.Policy = &retry.Policy{BaseDelay: -1, Budget: &retry.Budget{Tokens: -1}}
	tr.Breaker = &retry.Breaker{FailureRatio: 0.9}
	benchmark(b, tr, request(b, "GET", target, nil))
}

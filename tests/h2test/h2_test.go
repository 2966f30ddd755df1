package h2test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/seawall-go/seawall/retry"
)

// With a key, a write is retried after any failure of its stream. Without a key, it is
// sent again only if the server reports that it did not process the stream (RFC 9113,
// sections 6.8 and 8.7). net/http does that itself.
func TestRetryOfAWriteAfterAFailedStream(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		fault     func(stream)
		processed bool // whether the server may have processed the stream
	}{
		{"REFUSED_STREAM", reset(http2.ErrCodeRefusedStream), false},
		{"GOAWAY before the stream", goAway(none, http2.ErrCodeNo), false},
		{"GOAWAY after the stream", goAway(this, http2.ErrCodeNo), true},
		{"GOAWAY after the stream, for an error", goAway(this, http2.ErrCodeInternal), true},
		{"INTERNAL_ERROR", reset(http2.ErrCodeInternal), true},
		{"CANCEL", reset(http2.ErrCodeCancel), true},
		{"ENHANCE_YOUR_CALM", reset(http2.ErrCodeEnhanceYourCalm), true},
		{"closed connection", hangUp, true},
		{"503", answer("503"), true},
	} {
		for _, keys := range []retry.Keys{retry.KeysGenerated, retry.KeysCallerOnly} {
			synctest.Test(t, func(t *testing.T) {
				s := &server{script: []func(stream){tc.fault, answer("201")}}
				tr := &retry.Transport{
					Base: s.transport(t), Policy: &retry.Policy{Keys: keys}, Logger: slog.New(slog.DiscardHandler),
				}
				req, err := http.NewRequest(http.MethodPost, "http://api.example/v1/charges", strings.NewReader("charge"))
				require.NoError(t, err)

				resp, err := tr.RoundTrip(req)

				if keys == retry.KeysGenerated || !tc.processed {
					require.NoError(t, err, tc.name)
					require.Equal(t, http.StatusCreated, resp.StatusCode, tc.name)
					require.Len(t, s.requests, 2, tc.name)
					require.Equal(t, s.requests[0].key, s.requests[1].key)
					require.Equal(t, "charge", s.requests[1].body)
				} else {
					require.Len(t, s.requests, 1, tc.name)
				}
				require.Equal(t, keys == retry.KeysGenerated, s.requests[0].key != "")
				if resp != nil {
					require.Same(t, req.URL, resp.Request.URL)
					resp.Body.Close()
				}
			})
		}
	}
}

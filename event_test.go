package seawall_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestObserveGetsWhatTheLineSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		router := mux("POST /things/{id}", plain(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(25 * time.Millisecond)
			switch r.PathValue("id") {
			case "none":
				apierror.Write(w, r, apierror.ResourceMissing("thing"))
			case "late":
				w.Header().Set("Content-Length", "4")
				io.WriteString(w, "done")
				apierror.Write(w, r, apierror.CodeParameterInvalid)
			case "cut":
				panic(http.ErrAbortHandler)
			default:
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, "a thing")
			}
		}))
		ids := []string{"first", "second"}
		var events []seawall.Event
		h := (&seawall.Stack{
			Logger:    slog.New(slog.DiscardHandler), // Observe does not depend on the log
			RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return true }},
			AccessLog: &seawall.AccessLogOptions{Observe: func(ctx context.Context, e seawall.Event) {
				require.Equal(t, apierror.CodeOf(seawall.ErrorFrom(ctx)), e.Code)
				events = append(events, e)
			}},
			Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil),
		}).Handler(router)
		const pattern, took = "POST /things/{id}", 25 * time.Millisecond
		for _, tt := range []struct {
			path string
			want [2]seawall.Event // of two requests with the same key
		}{
			{"/things/1", [2]seawall.Event{
				{Pattern: pattern, Status: 201, Bytes: 7, Duration: took},
				{Pattern: pattern, Status: 201, Bytes: 7, Replayed: true, OriginalRequest: "first"},
			}},
			{"/things/none", [2]seawall.Event{
				{Pattern: pattern, Status: 404, Bytes: 117, Duration: took, Code: "resource_missing", Type: apierror.TypeInvalidRequest},
				{
					Pattern: pattern, Status: 404, Bytes: 117, Code: "resource_missing", Type: apierror.TypeInvalidRequest,
					Replayed: true, OriginalRequest: "first",
				},
			}},
			{"/other", [2]seawall.Event{
				{Status: 404, Bytes: 136, Code: "resource_missing", Type: apierror.TypeInvalidRequest},
				{Status: 404, Bytes: 137, Code: "resource_missing", Type: apierror.TypeInvalidRequest},
			}},
			{"/things/late", [2]seawall.Event{
				{Pattern: pattern, Status: 200, Bytes: 4, Duration: took, LateCode: "parameter_invalid"},
				{Pattern: pattern, Status: 200, Bytes: 4, Replayed: true, OriginalRequest: "first"},
			}},
			{"/things/cut", [2]seawall.Event{
				{Pattern: pattern, Duration: took, Aborted: true},
				{Pattern: pattern, Duration: took, Aborted: true},
			}},
		} {
			for i, want := range tt.want {
				events = nil
				r := httptest.NewRequest(http.MethodPost, tt.path, nil)
				r.Header.Set("Idempotency-Key", tt.path)
				r.Header.Set("X-Request-Id", ids[i])
				func() {
					defer func() { require.Equal(t, want.Aborted, recover() != nil) }()
					h.ServeHTTP(httptest.NewRecorder(), r)
				}()
				want.Method, want.RequestID = http.MethodPost, ids[i]
				require.Equal(t, []seawall.Event{want}, events, "%s, request %d", tt.path, i+1)
			}
		}
	})
}

func TestErrorFromReturnsReplayedErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		handler http.Handler
		code    apierror.Code
	}{
		"error object": {failing(nil, apierror.ParameterMissing("name")), apierror.CodeParameterMissing},
		"own text":     {plain(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusGone) }), ""},
		"success":      {ok, ""},
	} {
		var errs []*apierror.Error
		watch := func(next http.Handler) http.Handler {
			return plain(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				errs = append(errs, seawall.ErrorFrom(r.Context()))
			})
		}
		keyed := idempotent.New(idempotent.NewMemory(nil), idempotent.Global, nil)
		h := seawall.Chain(seawall.RequestID(nil), watch, keyed)(tt.handler)
		var first string
		for range 2 {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			first = cmp.Or(first, w.Header().Get("Request-Id"))
		}
		if tt.code == "" {
			require.Equal(t, []*apierror.Error{nil, nil}, errs, name)
			continue
		}
		require.Equal(t, tt.code, errs[0].Code(), name)
		require.Equal(t, tt.code, errs[1].Code(), name)
		require.Equal(t, "name", errs[1].Param(), name)
		require.Equal(t, first, errs[1].RequestID(), name)
		require.True(t, errs[1].FromServer(), name)
	}
}

func TestPanickingObserveIsLogged(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	h := seawall.AccessLog(&seawall.AccessLogOptions{
		Logger:  textLogger(&lines),
		Observe: func(context.Context, seawall.Event) { panic("a bug") },
	})(ok)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, lines.String(), `observe_panic="a bug"`)
}

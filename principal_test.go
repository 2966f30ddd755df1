package seawall_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

func TestPrincipalOfNobody(t *testing.T) {
	t.Parallel()
	require.Empty(t, seawall.Principal(context.Background()))
	require.Empty(t, serveOne(seawall.RequestID(nil)(showPrincipal), nil).Body.String())
}

var showPrincipal = plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, seawall.Principal(r.Context())) })

// as is an authentication that always succeeds.
func as(principal string) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, seawall.WithPrincipal(r, principal)) })
	}
}

// authorized is as for requests with an Authorization, and refuses others.
func authorized(principal string) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		known := as(principal)(next)
		return plain(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				apierror.Write(w, r, apierror.CodeAuthenticationFailed)
				return
			}
			known.ServeHTTP(w, r)
		})
	}
}

func TestPrincipalAlone(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	inside := seawall.WithPrincipal(r, "acct_1")
	require.Equal(t, "acct_1", seawall.Principal(inside.Context()))
	require.Equal(t, "acct_1", seawall.AuthenticatedAs(inside.Context()))
	require.Empty(t, seawall.Principal(r.Context()), "the caller's request was changed")
}

func TestAClonesPrincipalIsNotTheRequests(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: showAuthenticated}}
	serveOne(stack.Handler(plain(func(_ http.ResponseWriter, r *http.Request) {
		part := seawall.WithPrincipal(r.Clone(r.Context()), "part")
		require.Equal(t, "part", seawall.Principal(part.Context()))
		require.Empty(t, seawall.AuthenticatedAs(r.Context()))
	})), nil)
	require.Empty(t, logs.access(t)[0]["authenticated"])
}

// The access log, further out, knows whom the request was authenticated as.
func TestPrincipalIsTheRequests(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{
		Logger:       logs.logger(),
		Authenticate: as("acct_1"),
		AccessLog: &seawall.AccessLogOptions{Attrs: func(r *http.Request) []slog.Attr {
			return []slog.Attr{slog.String("principal", seawall.Principal(r.Context()))}
		}},
	}
	require.Equal(t, "acct_1", serveOne(stack.Handler(showPrincipal), nil).Body.String())
	require.Equal(t, "acct_1", logs.access(t)[0]["principal"])
}

func TestLastPrincipalCounts(t *testing.T) {
	t.Parallel()
	h := seawall.Chain(seawall.RequestID(nil), as("key_1"), as("acct_1"))(showPrincipal)
	require.Equal(t, "acct_1", serveOne(h, nil).Body.String())
}

package ratelimit_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

func TestOnFailure(t *testing.T) {
	t.Parallel()
	errDown := errors.New("connection refused")
	oneRule := []ratelimit.Rule{byKey("a", ratelimit.PerHour(2))}
	twoRules := []ratelimit.Rule{oneRule[0], byKey("b", ratelimit.PerHour(3))}
	for name, row := range map[string]struct {
		on     ratelimit.Fail
		rules  []ratelimit.Rule
		codes  []int
		events []string
	}{
		"local":             {ratelimit.FailLocal, oneRule, []int{200, 200, 429}, []string{"a allowed", "a allowed", "a denied"}},
		"local, two rules":  {ratelimit.FailLocal, twoRules, []int{200, 200, 429}, []string{"a allowed", "b allowed", "a allowed", "b allowed", "a denied", "b denied"}},
		"open":              {ratelimit.FailOpen, oneRule, []int{200, 200, 200}, []string{"a bypassed", "a bypassed", "a bypassed"}},
		"closed":            {ratelimit.FailClosed, oneRule, []int{503, 503, 503}, []string{"a failed", "a failed", "a failed"}},
		"closed, two rules": {ratelimit.FailClosed, twoRules, []int{503}, []string{"a failed", "b failed"}},
		"open, two rules":   {ratelimit.FailOpen, twoRules, []int{200}, []string{"a bypassed", "b bypassed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen events
			var log strings.Builder
			l := &broken{Memory: ratelimit.NewMemory(nil), err: errDown}
			h := ratelimit.New(l, &ratelimit.Options{
				OnFailure: row.on, Observe: seen.observe, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}, row.rules...)(ok)
			for _, code := range row.codes {
				w := get(h, "sk_secret")
				require.Equal(t, code, w.Code)
				require.NotContains(t, w.Body.String(), "refused")
				require.Equal(t, code == 503, w.Header().Get("Retry-After") == "1")
				require.Equal(t, row.on == ratelimit.FailLocal, w.Header().Get("RateLimit") != "")
			}
			for _, event := range seen.list {
				require.ErrorIs(t, event.Err, errDown)
				require.GreaterOrEqual(t, event.Decision.Remaining, 0)
			}
			require.Equal(t, row.events, seen.drain())
			require.Equal(t, 1, strings.Count(log.String(), "the limiter fails"), log.String())

			gone, cancel := context.WithCancel(t.Context())
			cancel()
			serve(h, request("X-Api-Key", "sk_secret").WithContext(gone))
			require.Zero(t, strings.Count(log.String(), "works again"), "a canceled request ends no outage")

			l.err = nil
			require.Equal(t, 200, get(h, "sk_secret").Code)
			require.Equal(t, 1, strings.Count(log.String(), "works again"), log.String())
			require.NotContains(t, log.String(), "sk_secret")
		})
	}
}

// A request that passes without a decision is bypassed. One that the local limiter admits
// is allowed.
func TestOutcomeWhenTheLimiterFails(t *testing.T) {
	t.Parallel()
	for _, shadow := range []bool{false, true} {
		for on, want := range map[ratelimit.Fail]string{
			ratelimit.FailOpen: "default bypassed", ratelimit.FailLocal: "default allowed",
		} {
			var seen events
			var log lines
			l := &broken{Memory: ratelimit.NewMemory(nil), err: apierror.CodeAPIError}
			h := ratelimit.New(l, &ratelimit.Options{OnFailure: on, Shadow: shadow, Observe: seen.observe, Logger: log.logger()}, byKey("", ratelimit.PerHour(1)))(ok)
			w := get(h, "sk_1")
			require.Equal(t, 200, w.Code)
			require.Equal(t, on == ratelimit.FailLocal && !shadow, w.Header().Get("RateLimit") != "")
			require.ErrorIs(t, seen.list[0].Err, apierror.CodeAPIError)
			require.Equal(t, []string{want}, seen.drain())
		}
	}
}

func TestNoRoomIs503WithEveryOnFailure(t *testing.T) {
	t.Parallel()
	for _, on := range []ratelimit.Fail{ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed} {
		var log strings.Builder
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
		h := ratelimit.New(m, &ratelimit.Options{OnFailure: on, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			byKey("", ratelimit.PerHour(1)))(ok)
		require.Equal(t, 200, get(h, "sk_1").Code)
		w := get(h, "sk_2")
		require.Equal(t, 503, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Equal(t, 429, get(h, "sk_1").Code)
		require.Contains(t, log.String(), "no room")
		require.NotContains(t, log.String(), "fails")
	}
}

// A request that was canceled makes the back end fail, which says nothing about the back
// end.
func TestCanceledRequestsAreNotAFailure(t *testing.T) {
	t.Parallel()
	for _, on := range []ratelimit.Fail{ratelimit.FailLocal, ratelimit.FailOpen, ratelimit.FailClosed} {
		var log strings.Builder
		l := &broken{Memory: ratelimit.NewMemory(nil), err: context.Canceled}
		ran := false
		h := ratelimit.New(l, &ratelimit.Options{OnFailure: on, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			byKey("", ratelimit.PerHour(1)))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.Equal(t, 503, serve(h, request("X-Api-Key", "sk_1").WithContext(gone)).Code)

		late, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		require.Equal(t, 504, serve(h, request("X-Api-Key", "sk_1").WithContext(late)).Code)
		require.False(t, ran)
		require.Empty(t, log.String())
	}
}

func TestCanceledRequestsAreNotChargedLocally(t *testing.T) {
	t.Parallel()
	l := &broken{Memory: ratelimit.NewMemory(nil), err: context.Canceled}
	h := ratelimit.New(l, &ratelimit.Options{Logger: slog.New(slog.DiscardHandler)}, byKey("", ratelimit.PerHour(1)))(ok)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, 503, serve(h, request("X-Api-Key", "sk_1").WithContext(gone)).Code)
	require.Equal(t, 200, get(h, "sk_1").Code)
}

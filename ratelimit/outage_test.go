package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

func TestOutageIsLoggedWhenItBeginsAndWhenItEnds(t *testing.T) {
	t.Parallel()
	errDown := errors.New("dial redis://u:secret@host: connection refused \u202e\n" + strings.Repeat("x", 10_000))
	for on, code := range map[ratelimit.Fail]int{ratelimit.FailClosed: 503, ratelimit.FailOpen: 200, ratelimit.FailLocal: 200} {
		synctest.Test(t, func(t *testing.T) {
			var log lines
			l := &broken{Memory: ratelimit.NewMemory(nil), err: errDown}
			h := logged(&log, ratelimit.New(l, &ratelimit.Options{OnFailure: on, Logger: log.logger()}, byKey("", ratelimit.PerHour(2)))(ok))

			begin := fail(t, &log, h, code)
			require.Contains(t, begin, "the limiter fails")
			require.Less(t, len(begin), 2000)
			require.NotContains(t, begin, "\u202e")
			require.NotContains(t, begin, "secret", "an error may contain a URL")

			l.err = nil
			end := healthy(t, &log, h)
			require.Contains(t, end, "works again")
			require.Contains(t, end, "requests=1000")
		})
	}
}

func TestFullTableIsLoggedWhenItBeginsAndWhenItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
		_, err := m.Take(t.Context(), ratelimit.Charge{Rule: "other", Limit: ratelimit.PerHour(1), Cost: 1})
		require.NoError(t, err)
		h := logged(&log, ratelimit.New(m, &ratelimit.Options{Logger: log.logger()}, byKey("", ratelimit.PerHour(2)))(ok))

		require.Contains(t, fail(t, &log, h, 503), "has no room")

		time.Sleep(time.Hour) // the other bucket is full again
		end := healthy(t, &log, h)
		require.Contains(t, end, "has room again")
		require.Contains(t, end, "requests=1000")
	})
}

// fail sends a thousand requests of different keys, and returns the only record in the log.
func fail(t *testing.T, log *lines, h http.Handler, code int) string {
	t.Helper()
	for i := range 1000 {
		require.Equal(t, code, get(h, strconv.Itoa(i)).Code)
	}
	records := log.drain()
	require.Len(t, records, 1, "%.300q", records)
	return records[0]
}

// healthy sends two requests that succeed, and returns the only record in the log.
func healthy(t *testing.T, log *lines, h http.Handler) string {
	t.Helper()
	for range 2 {
		require.Equal(t, 200, get(h, "sk_healthy").Code)
	}
	records := log.drain()
	require.Len(t, records, 1, "%.300q", records)
	return records[0]
}

// A back end may fail for every second request, for example for one key.
func TestOutagesAreLoggedTwiceAMinuteAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		l := &broken{Memory: ratelimit.NewMemory(nil)}
		h := ratelimit.New(l, &ratelimit.Options{Logger: log.logger()}, byKey("", ratelimit.PerSecond(100)))(ok)
		flap := func() {
			l.err = errors.New("wrong type")
			get(h, "sk_1")
			l.err = nil
			get(h, "sk_1")
		}
		for range 300 { // ten minutes
			flap()
			time.Sleep(2 * time.Second)
		}
		records := log.drain()
		require.Greater(t, len(records), 10)
		require.LessOrEqual(t, len(records), 22, "%.600q", records)
		time.Sleep(time.Hour)
		flap()
		require.Len(t, log.drain(), 2, "an outage after a quiet hour is logged immediately")
	})
}

// In the minute after a record, failures are counted and not logged.
func TestOutageWithinAMinuteIsCountedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		l := &broken{Memory: ratelimit.NewMemory(nil)}
		h := ratelimit.New(l, &ratelimit.Options{Logger: log.logger()}, byKey("", ratelimit.PerSecond(100)))(ok)
		fail := func(n int) {
			l.err = errors.New("wrong type")
			for range n {
				get(h, "sk_1")
			}
			l.err = nil
		}
		fail(3)
		require.Len(t, log.drain(), 1)
		time.Sleep(50 * time.Second)
		get(h, "sk_1")
		ended := log.drain()
		require.Len(t, ended, 1)
		require.Contains(t, ended[0], "requests=3")

		time.Sleep(time.Minute - 1)
		fail(2)
		get(h, "sk_1")
		require.Empty(t, log.drain())

		time.Sleep(time.Nanosecond)
		fail(1)
		require.Len(t, log.drain(), 1)
		get(h, "sk_1")
		ended = log.drain()
		require.Len(t, ended, 1)
		require.Contains(t, ended[0], "requests=3")
	})
}

// Neither a known key nor a pause of less than a minute ends the flood.
func TestFloodOfNewKeysIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		m := ratelimit.NewMemory(&ratelimit.MemoryOptions{MaxKeys: 1, RefuseWhenFull: true})
		h := ratelimit.New(m, &ratelimit.Options{Logger: log.logger()}, byKey("", ratelimit.Limit{Quota: 1, Window: 24 * time.Hour, Burst: 500}))(ok)
		require.Equal(t, 200, get(h, "known").Code)
		for range 20 {
			for i := range 10 {
				require.Equal(t, 503, get(h, strconv.Itoa(i)).Code)
				require.Equal(t, 200, get(h, "known").Code)
			}
			time.Sleep(50 * time.Second)
			require.Equal(t, 200, get(h, "known").Code)
		}
		require.Len(t, log.drain(), 1)
		time.Sleep(11 * time.Second)
		require.Equal(t, 200, get(h, "known").Code)
		records := log.drain()
		require.Len(t, records, 1)
		require.Contains(t, records[0], "requests=200")
	})
}

func TestCanceledRequestsAreNotLogged(t *testing.T) {
	t.Parallel()
	var log lines
	l := &broken{Memory: ratelimit.NewMemory(nil), err: context.Canceled}
	h := logged(&log, ratelimit.New(l, &ratelimit.Options{Logger: log.logger()}, byKey("", ratelimit.PerHour(1)))(ok))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	for range 10 {
		require.Equal(t, 503, serve(h, request("X-Api-Key", "sk_1").WithContext(gone)).Code)
		require.Equal(t, 504, serve(h, request("X-Api-Key", "sk_1").WithContext(late)).Code)
	}
	require.Empty(t, log.drain())
}

func TestRefusalsOfSlotsAreNotLogged(t *testing.T) {
	t.Parallel()
	var log lines
	var inner http.Handler
	outer := logged(&log, ratelimit.Shed(2, nil, nil)(ratelimit.MaxConcurrent(1, ratelimit.ByRemoteAddr, nil)(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) }))))
	inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			require.Contains(t, []int{429, 503}, get(outer, "").Code)
		}
		ok.ServeHTTP(w, r)
	})
	require.Equal(t, 200, get(outer, "").Code)
	require.Empty(t, log.drain())
}

package redisstore_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/redisstore"
	"github.com/seawall-go/seawall/internal/redistest"
)

// fields returns the record of an ID as redis-cli shows it.
func fields(t testing.TB, s *redistest.Server, id idempotent.ID) map[string]string {
	t.Helper()
	lines := strings.Split(do(t, s, "HGETALL", "idempotent:"+id.String()), "\n")
	record := make(map[string]string)
	for i := 0; i+1 < len(lines); i += 2 {
		record[lines[i]] = lines[i+1]
	}
	return record
}

// An operator can read a record with redis-cli.
func TestRecordsAreReadable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	c := begun(t, s)
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))

	record := fields(t, server, c.ID)
	leaseEnd, expiry := micros(t, record["lease_end"]), micros(t, record["expiry"])
	require.Equal(t, keep-lease, expiry.Sub(leaseEnd))
	require.WithinDuration(t, time.Now().Add(keep), expiry, keep/2) // the unit is right
	require.NotZero(t, expiry.Nanosecond())                         // it is precise
	delete(record, "lease_end")
	delete(record, "expiry")
	want := map[string]string{
		"v": "1", "state": "running", "attempt": "1", "effect": "1",
		"token": c.Token.String(), "fingerprint": c.Fingerprint.String(), "scope": c.Scope.String(),
	}
	require.Equal(t, want, record)

	require.NoError(t, s.Finish(t.Context(), c.Owner(), unknown))
	record = fields(t, server, c.ID)
	delete(record, "expiry")
	delete(want, "effect")
	want["state"], want["response"] = "unknown", ""
	require.Equal(t, want, record)

	require.NoError(t, s.Resolve(t.Context(), c.ID, done("response")))
	record = fields(t, server, c.ID)
	delete(record, "expiry")
	require.Equal(t, map[string]string{
		"v": "1", "state": "done", "fingerprint": c.Fingerprint.String(), "response": "response",
	}, record)
}

func micros(t testing.TB, field string) time.Time {
	t.Helper()
	n, err := strconv.ParseInt(field, 10, 64)
	require.NoError(t, err)
	return time.UnixMicro(n)
}

// Nothing is left in Redis forever, and nothing goes before its lease and its retention are over.
func TestKeysExpireAfterTheirRecords(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	ttl := func(c idempotent.Claim) time.Duration {
		ms, err := strconv.Atoi(do(t, server, "PTTL", "idempotent:"+c.ID.String()))
		require.NoError(t, err)
		return time.Duration(ms) * time.Millisecond
	}
	want := func(c idempotent.Claim, d time.Duration) {
		t.Helper()
		require.InDelta(t, d+time.Second, ttl(c), float64(patience))
	}
	c := begun(t, s)
	want(c, keep)
	require.NoError(t, s.Renew(t.Context(), c.Owner(), 2*keep))
	want(c, 2*keep)
	wantVerdict(t, s, c, idempotent.VerdictAcquired)
	want(c, keep)
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))
	want(c, keep)
	end := done("response")
	end.Retention = 3 * keep
	require.NoError(t, s.Finish(t.Context(), c.Owner(), end))
	want(c, 3*keep)

	long := newClaim()
	long.Lease = 100 * 365 * 24 * time.Hour // what a decorator of a LocalStore may ask for
	wantVerdict(t, s, long, idempotent.VerdictAcquired)
	want(long, long.Lease)
	require.Less(t, wantVerdict(t, s, rival(long), idempotent.VerdictRunning).LeaseLeft, long.Lease+time.Second)
}

// A record that Redis has not removed yet leaves nothing to the next one.
func TestNewRecordHasNoOtherFields(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	clock := newMovedClock(client(t, server.Addr))
	s := redisstore.NewRunner(clock, nil)
	c := begun(t, s)
	fresh := fields(t, server, c.ID)
	require.NoError(t, s.Finish(t.Context(), c.Owner(), done("response")))
	clock.advance(2 * keep)
	require.NotEmpty(t, fields(t, server, c.ID))
	wantVerdict(t, s, c, idempotent.VerdictAcquired)
	again := fields(t, server, c.ID)
	for _, field := range []string{"lease_end", "expiry"} {
		require.NotEqual(t, fresh[field], again[field])
		again[field] = fresh[field]
	}
	require.Equal(t, fresh, again)
}

// A record that has come to its end is removed, and so is its key.
func TestReleasedRecordsLeaveNoKey(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	for _, end := range []idempotent.Completion{released, unknown} {
		c := begun(t, s)
		require.NoError(t, s.Finish(t.Context(), c.Owner(), end))
	}
	c := begun(t, s)
	require.NoError(t, s.BeginEffect(t.Context(), c.Owner()))
	require.NoError(t, s.Finish(t.Context(), c.Owner(), unknown))
	require.NoError(t, s.Resolve(t.Context(), c.ID, released))
	require.Equal(t, "0", do(t, server, "DBSIZE"))
}

// What is not a record is reported, and never changed.
func TestForeignKeysAreNotTouched(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := redisstore.New(client(t, server.Addr), nil)
	good := []string{
		"v", "1", "state", "running", "fingerprint", newClaim().Fingerprint.String(), "token", "aa", "scope", "bb",
		"attempt", "1", "effect", "0", "lease_end", "1", "expiry", "9999999999999999",
	}
	with := func(field, value string) []string {
		changed := append([]string{"HSET"}, good...)
		for i := 1; i < len(changed); i += 2 {
			if changed[i] == field {
				changed[i+1] = value
			}
		}
		return changed
	}
	without := func(field string) []string {
		changed := []string{"HSET"}
		for i := 0; i < len(good); i += 2 {
			if good[i] != field {
				changed = append(changed, good[i], good[i+1])
			}
		}
		return changed
	}
	for name, command := range map[string][]string{
		"string":         {"SET", "value"},
		"list":           {"RPUSH", "value"},
		"set":            {"SADD", "value"},
		"another hash":   {"HSET", "name", "value"},
		"later layout":   with("v", "2"),
		"no layout":      without("v"),
		"no state":       without("state"),
		"another state":  with("state", "absent"),
		"no fingerprint": without("fingerprint"),
		"no token":       without("token"),
		"no scope":       without("scope"),
		"no attempt":     without("attempt"),
		"no effect":      without("effect"),
		"effect":         with("effect", "maybe"),
		"no lease end":   without("lease_end"),
		"no expiry":      without("expiry"),
		"nan":            with("expiry", "nan"),
		"negative":       with("lease_end", "-1"),
		"hexadecimal":    with("attempt", "0x1"),
		"empty number":   with("attempt", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClaim()
			key := "idempotent:" + c.ID.String()
			do(t, server, append([]string{command[0], key}, command[1:]...)...)
			before := do(t, server, "DUMP", key)

			_, err := s.Acquire(t.Context(), c)
			errs := map[string]error{
				"Acquire":         err,
				"Renew":           s.Renew(t.Context(), c.Owner(), lease),
				"BeginEffect":     s.BeginEffect(t.Context(), c.Owner()),
				"Finish done":     s.Finish(t.Context(), c.Owner(), done("response")),
				"Finish released": s.Finish(t.Context(), c.Owner(), released),
				"Finish unknown":  s.Finish(t.Context(), c.Owner(), unknown),
				"Resolve":         s.Resolve(t.Context(), c.ID, done("response")),
				"Wait":            s.Wait(t.Context(), c.ID),
			}
			for op, err := range errs {
				require.Error(t, err, op)
				require.NotErrorIs(t, err, idempotent.ErrLost, op)
				require.NotErrorIs(t, err, idempotent.ErrNotUnknown, op)
				require.NotErrorIs(t, err, idempotent.ErrFull, op)
				require.ErrorContains(t, err, c.ID.String(), op)
				if strings.HasPrefix(command[0], "H") {
					require.ErrorContains(t, err, "does not hold a record of layout 1", op)
				} else {
					require.ErrorContains(t, err, "WRONGTYPE", op)
				}
			}
			require.Equal(t, before, do(t, server, "DUMP", key))
			require.Equal(t, "-1", do(t, server, "TTL", key))
		})
	}
}

// A Runner may be wrong.
func TestUnexpectedRepliesAreErrors(t *testing.T) {
	t.Parallel()
	c := newClaim()
	for _, reply := range []any{
		nil, int64(1), "", "maybe", []any{}, []any{nil}, []any{"acquired"}, []any{"acquired", "1"}, []any{"running", nil},
		[]any{"done"}, []any{"not_kept", int64(1)}, []any{"unknown", "x", int64(1), int64(1)}, []any{int64(1)}, []any{"a", "b", "c"},
	} {
		s := redisstore.NewRunner(fixed{reply}, nil)
		errs := []error{
			s.Renew(t.Context(), c.Owner(), lease),
			s.BeginEffect(t.Context(), c.Owner()),
			s.Finish(t.Context(), c.Owner(), done("")),
			s.Resolve(t.Context(), c.ID, released),
		}
		if list, _ := reply.([]any); len(list) != 4 {
			_, err := s.Acquire(t.Context(), c)
			errs = append(errs, err)
		}
		for i, err := range errs {
			require.Error(t, err, "%v, %d", reply, i)
		}
	}
	for _, reply := range []any{nil, "running", []any{int64(1)}, []any{"unknown", "x", int64(1), int64(1)}} {
		require.Error(t, redisstore.NewRunner(fixed{reply}, nil).Wait(t.Context(), c.ID), "%v", reply)
	}
}

// fixed is a Runner with one reply.
type fixed struct{ reply any }

func (f fixed) Run(context.Context, string, []string, []string) (any, error) { return f.reply, nil }

func TestInvalidArguments(t *testing.T) {
	t.Parallel()
	s := redisstore.NewRunner(fixed{"ok"}, nil)
	for _, d := range []time.Duration{0, -1} {
		c := newClaim()
		c.Lease = d
		_, err := s.Acquire(t.Context(), c)
		require.Error(t, err)
		c = newClaim()
		c.Retention = d
		_, err = s.Acquire(t.Context(), c)
		require.Error(t, err)
		require.Error(t, s.Renew(t.Context(), c.Owner(), d))
		for _, state := range []idempotent.State{idempotent.StateDone, idempotent.StateNotKept} {
			end := idempotent.Completion{State: state, Retention: d}
			require.Error(t, s.Finish(t.Context(), c.Owner(), end))
			require.Error(t, s.Resolve(t.Context(), c.ID, end))
		}
	}
	require.NoError(t, s.Renew(t.Context(), newClaim().Owner(), 1))
}

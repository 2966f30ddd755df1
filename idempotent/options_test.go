package idempotent_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

func TestContradictoryOptionsPanic(t *testing.T) {
	t.Parallel()
	_, executor := newExecutor()
	type setup struct {
		store idempotent.Store
		o     idempotent.Options
	}
	for name, s := range map[string]setup{
		"no store":                    {nil, idempotent.Options{}},
		"an unknown OnFailure":        {memory(), idempotent.Options{OnFailure: 2}},
		"FailOpen and AtMostOnce":     {memory(), idempotent.Options{OnFailure: idempotent.FailOpen, AtMostOnce: true}},
		"a Lease under a millisecond": {leased{memory()}, idempotent.Options{Lease: time.Millisecond - 1}},
		"a negative Lease":            {memory(), idempotent.Options{Lease: -1}},
		"a negative Retention":        {memory(), idempotent.Options{Retention: -1}},
		"a negative StoreTimeout":     {memory(), idempotent.Options{StoreTimeout: -1}},
		"AtMostOnce in an Executor":   {executor, idempotent.Options{AtMostOnce: true}},
		"FailOpen in an Executor":     {executor, idempotent.Options{OnFailure: idempotent.FailOpen}},
	} {
		require.Panics(t, func() { idempotent.New(s.store, idempotent.Global, &s.o) }, name)
		require.Panics(t, func() { idempotent.NewGuard(s.store, &s.o) }, name)
	}
	require.Panics(t, func() { idempotent.New(memory(), nil, nil) }, "no scope")

	for name, s := range map[string]setup{
		"a Lease of a millisecond": {leased{memory()}, idempotent.Options{Lease: time.Millisecond}},
		"an Executor":              {executor, idempotent.Options{}},
	} {
		require.NotPanics(t, func() { idempotent.New(s.store, idempotent.Global, &s.o) }, name)
		require.NotPanics(t, func() { idempotent.NewGuard(s.store, &s.o) }, name)
	}
}

func TestMethodsThatTakeNoKeyPanic(t *testing.T) {
	t.Parallel()
	for _, method := range []string{
		"", "post", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodConnect,
	} {
		require.Panics(t, func() {
			idempotent.New(memory(), idempotent.Global, &idempotent.Options{Methods: []string{method}})
		}, method)
	}
}

func TestNewGuardRefusesHTTPOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*idempotent.Options{
		"Required":    {Required: true},
		"Methods":     {Methods: []string{}},
		"Skip":        {Skip: func(*http.Request) bool { return true }},
		"Authorize":   {Authorize: func(*http.Request) error { return nil }},
		"Fingerprint": {Fingerprint: idempotent.FingerprintBody},
		"MaxBody":     {MaxBody: -1},
		"OmitFields":  {OmitFields: []string{}},
	} {
		panicked, _ := isolated(func() { idempotent.NewGuard(memory(), o) })
		require.Contains(t, fmt.Sprint(panicked), name)
		require.Contains(t, fmt.Sprint(panicked), "HTTP", name)
		require.NotPanics(t, func() { idempotent.New(memory(), idempotent.Global, o) }, name)
	}
}

func TestOptionsAreCopied(t *testing.T) {
	t.Parallel()
	var ids []idempotent.ID
	o := &idempotent.Options{
		Methods: []string{http.MethodPost},
		Secret:  []byte("secret"),
		Observe: func(_ context.Context, e idempotent.Event) { ids = append(ids, e.ID) },
	}
	mw := idempotent.New(memory(), idempotent.Global, o)(&counter{})

	call(mw, "k", "")
	o.Methods[0], o.Secret[0], o.Required, o.Namespace = "PUT", 'S', true, "other"

	require.True(t, call(mw, "k", "").replayed())
	require.Equal(t, ids[0], ids[1])
}

func TestClaimHasTheDefaultDurations(t *testing.T) {
	t.Parallel()
	store := &recorder{Store: memory()}
	_, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), (&work{}).run)
	require.NoError(t, err)
	require.Len(t, store.claims, 1)
	require.Equal(t, 30*time.Second, store.claims[0].Lease)
	require.Equal(t, 24*time.Hour, store.claims[0].Retention)
}

func TestStoreTimeoutIsAtMostAThirdOfTheLease(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]time.Duration{
		0:               time.Second,
		3 * time.Second: 3 * time.Second,
		time.Minute:     4 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &recorder{Store: memory()}
			g := idempotent.NewGuard(store, &idempotent.Options{Lease: 12 * time.Second, StoreTimeout: timeout})
			_, err := idempotent.Do(t.Context(), g, callOf("k"), (&work{}).run)
			require.NoError(t, err)
			require.Equal(t, want, store.timeout)
		})
	}
}

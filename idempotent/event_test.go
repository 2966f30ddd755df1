package idempotent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// scene is a Guard whose store and options a test may change before the first call.
type scene struct {
	t      *testing.T
	store  *faulty
	o      idempotent.Options
	events eventLog
	guard  *idempotent.Guard
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, store: &faulty{Store: memory()}}
	s.o.Observe = s.events.observe
	return s
}

func (s *scene) do(c idempotent.Call, f func(context.Context) (string, error)) error {
	if s.guard == nil {
		s.guard = idempotent.NewGuard(s.store, &s.o)
	}
	_, err := idempotent.Do(s.t.Context(), s.guard, c, f)
	return err
}

// duringRun makes a call while first runs.
func (s *scene) duringRun(first func(context.Context) (string, error)) error {
	go func() { _ = s.do(callOf("k"), first) }()
	synctest.Wait()
	return s.do(callOf("k"), succeed)
}

func succeed(context.Context) (string, error) { return "done", nil }
func fail(context.Context) (string, error)    { return "", errDown }
func failAfterEffect(ctx context.Context) (string, error) {
	return "", errors.Join(idempotent.BeginEffect(ctx), errDown)
}

func after(d time.Duration, f func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { time.Sleep(d); return f(ctx) }
}

// outcomes has a call for each outcome, the code of its error and the status of its event.
var outcomes = map[idempotent.Outcome]struct {
	do     func(s *scene) error
	ran    bool
	code   apierror.Code
	status int
}{
	idempotent.OutcomeExecuted: {do: func(s *scene) error { return s.do(callOf("k"), succeed) }, ran: true, status: 200},
	idempotent.OutcomeReleased: {do: func(s *scene) error { return s.do(callOf("k"), fail) }, ran: true, status: 500},
	idempotent.OutcomeUnknown:  {do: func(s *scene) error { return s.do(callOf("k"), failAfterEffect) }, ran: true, status: 500},
	idempotent.OutcomeNotKept: {do: func(s *scene) error {
		s.o.MaxResponse = 1
		return s.do(callOf("k"), succeed)
	}, ran: true, status: 200},
	idempotent.OutcomeUnrecorded: {do: func(s *scene) error {
		s.store.finish = failFinish(errDown)
		return s.do(callOf("k"), succeed)
	}, ran: true, status: 200},
	idempotent.OutcomeBypassed: {do: func(s *scene) error {
		s.o.OnFailure, s.store.acquire = idempotent.FailOpen, failAcquire(errDown)
		return s.do(callOf("k"), succeed)
	}},
	idempotent.OutcomeReplayed: {do: func(s *scene) error {
		_ = s.do(callOf("k"), succeed)
		return s.do(callOf("k"), succeed)
	}, status: 200},
	idempotent.OutcomeConflict: {do: func(s *scene) error {
		_ = s.do(callOf("k"), succeed)
		other := callOf("k")
		other.Fingerprint = idempotent.Fingerprint{1}
		return s.do(other, succeed)
	}, code: apierror.CodeIdempotencyConflict},
	idempotent.OutcomeInProgress: {do: func(s *scene) error {
		s.o.Wait = time.Second
		return s.duringRun(after(5*time.Second, succeed))
	}, code: apierror.CodeIdempotencyInProgress},
	idempotent.OutcomeLeaderFailed: {do: func(s *scene) error {
		return s.duringRun(after(time.Second, fail))
	}, code: apierror.CodeServiceUnavailable},
	idempotent.OutcomeStillUnknown: {do: func(s *scene) error {
		_ = s.do(callOf("k"), failAfterEffect)
		return s.do(callOf("k"), succeed)
	}, code: apierror.CodeIdempotencyOutcomeUnknown},
	idempotent.OutcomeUnavailable: {do: func(s *scene) error {
		s.o.MaxResponse = 1
		_ = s.do(callOf("k"), succeed)
		return s.do(callOf("k"), succeed)
	}, code: apierror.CodeIdempotencyResponseUnavailable},
	idempotent.OutcomeStoreFailed: {do: func(s *scene) error {
		s.store.acquire = failAcquire(errDown)
		return s.do(callOf("k"), succeed)
	}, code: apierror.CodeServiceUnavailable},
	idempotent.OutcomeStoreFull: {do: func(s *scene) error {
		s.store.acquire = failAcquire(idempotent.ErrFull)
		return s.do(callOf("k"), succeed)
	}, code: apierror.CodeServiceUnavailable},
	idempotent.OutcomeOverQuota: {do: func(s *scene) error {
		s.store.acquire = failAcquire(idempotent.ErrQuota)
		return s.do(callOf("k"), succeed)
	}, code: apierror.CodeRateLimitExceeded},
	idempotent.OutcomeRefused: {do: func(s *scene) error { return s.do(idempotent.Call{}, succeed) }, code: apierror.CodeAPIError},
}

func TestEveryOutcome(t *testing.T) {
	t.Parallel()
	for outcome, test := range outcomes {
		runBubble(t, string(outcome), func(t *testing.T) {
			s := newScene(t)
			err := test.do(s)
			e := s.events.last()
			require.Equal(t, outcome, e.Outcome)
			require.Equal(t, test.status, e.Status)
			require.Equal(t, test.code, apierror.CodeOf(err))
			require.Equal(t, test.ran, e.Attempt == 1)
			switch outcome {
			case idempotent.OutcomeUnrecorded, idempotent.OutcomeBypassed:
				require.NoError(t, err)
				require.ErrorIs(t, e.Err, errDown, "the store's error")
			default:
				require.Equal(t, err, e.Err)
			}
			if outcome != idempotent.OutcomeRefused {
				require.Equal(t, s.o.ID("customer", "k"), e.ID)
				require.NotZero(t, e.Scope)
			}
			time.Sleep(5 * time.Second) // the first run ends
		})
	}
}

func TestEventWaited(t *testing.T) {
	t.Parallel()
	takes := func(d time.Duration, err error) func(acquireFunc) (idempotent.Decision, error) {
		return func(acquireFunc) (idempotent.Decision, error) {
			time.Sleep(d)
			return idempotent.Decision{}, err
		}
	}
	for name, test := range map[string]struct {
		store func(idempotent.Store) idempotent.Store
		first func(h, elsewhere http.Handler) // what happens before the call
		want  time.Duration
		delta time.Duration
	}{
		"runs": {},
		"follows": {
			first: func(h, _ http.Handler) { go call(h, "k", ""); time.Sleep(time.Second) },
			want:  4 * time.Second,
		},
		"polls": {
			first: func(_, elsewhere http.Handler) { go call(elsewhere, "k", ""); time.Sleep(time.Second) },
			want:  4 * time.Second, delta: 1500 * time.Millisecond,
		},
		"is refused": {
			store: func(s idempotent.Store) idempotent.Store {
				return &faulty{Store: s, acquire: takes(300*time.Millisecond, idempotent.ErrFull)}
			},
			want: 300 * time.Millisecond,
		},
		"runs unprotected": {
			store: func(s idempotent.Store) idempotent.Store {
				return &faulty{Store: s, acquire: takes(time.Second, errDown)}
			},
			want: time.Second,
		},
	} {
		runBubble(t, name, func(t *testing.T) {
			var store idempotent.Store = leased{memory()}
			if test.store != nil {
				store = test.store(store)
			}
			var events eventLog
			o := &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe}
			h := slow(5 * time.Second)
			mw := idempotent.New(store, idempotent.Global, o)(h)
			if test.first != nil {
				test.first(mw, idempotent.New(store, idempotent.Global, nil)(h))
			}
			call(mw, "k", "")
			require.InDelta(t, test.want, events.last().Waited, float64(test.delta))
			time.Sleep(5 * time.Second)
		})
	}
}

func TestEventWaitedOfATakeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events eventLog
		store := memory()
		call(idempotent.New(crashed(store), idempotent.Global, nil)(&counter{}), "k", "")
		time.Sleep(20 * time.Second)
		start := time.Now()
		call(idempotent.New(store, idempotent.Global, &idempotent.Options{Observe: events.observe})(slow(5*time.Second)), "k", "")

		e := events.last()
		require.Equal(t, idempotent.OutcomeExecuted, e.Outcome)
		require.Equal(t, 2, e.Attempt)
		require.Greater(t, e.Waited, time.Second)
		require.Equal(t, time.Since(start)-5*time.Second, e.Waited, "the run itself does not count")
	})
}

func TestEventOfAnUnrecordedPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events eventLog
		store := &faulty{Store: memory(), finish: failFinish(errDown)}
		g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
		panicked, _ := isolated(func() {
			_, _ = idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (int, error) { panic("boom") })
		})
		require.Equal(t, "boom", panicked)
		events.require(t, idempotent.OutcomeUnrecorded)
		require.ErrorIs(t, events.last().Err, errDown)
	})
}

// Logs.

func TestFailureAfterBeginEffectIsLogged(t *testing.T) {
	t.Parallel()
	var log logBuffer
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Logger: log.logger()})(
		apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			require.NoError(t, idempotent.BeginEffect(r.Context()))
			return apierror.CodeAPIError
		}))
	r := call(mw, "k", "")
	require.Contains(t, log.String(), `level=WARN msg="idempotent: a call failed after BeginEffect" request_id=`+r.Header.Get("Request-Id"))
	require.Contains(t, log.String(), "idempotency_id=")
}

// Only the store knows whether a transaction with BeginEffectWith was committed.
func TestFailureAfterBeginEffectWithIsLogged(t *testing.T) {
	t.Parallel()
	var log logBuffer
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Logger: log.logger()})(
		apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			rolledBack := func(context.Context, idempotent.Owner) error { return nil }
			require.NoError(t, idempotent.BeginEffectWith(r.Context(), rolledBack))
			return apierror.CodeAPIError
		}))
	call(mw, "k", "")
	require.Contains(t, log.String(), "if the transaction with the effect was committed")
}

func TestMissingPrincipalIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log logBuffer
	mw := idempotent.New(memory(), idempotent.ByPrincipal, &idempotent.Options{Logger: log.logger()})(http.NotFoundHandler())
	for range 3 {
		call(mw, "k", "")
	}
	require.Equal(t, 1, strings.Count(log.String(), "seawall.WithPrincipal"), log.String())
	require.Contains(t, log.String(), "a request is refused")
	require.NotContains(t, log.String(), "idempotency_id", "there is no record")
}

func TestUnrecordedRunIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		store := &faulty{Store: memory(), finish: failFinish(errDown)}
		g := idempotent.NewGuard(store, &idempotent.Options{Logger: log.logger()})
		_, err := idempotent.Do(t.Context(), g, callOf("k"), slowValue(0))
		require.NoError(t, err)
		require.Contains(t, log.String(), "could not be recorded")
		require.Contains(t, log.String(), errDown.Error())
		require.Contains(t, log.String(), idOf("", "customer", "k").String())
	})
}

func TestValueThatCannotBeEncodedIsLogged(t *testing.T) {
	t.Parallel()
	var log logBuffer
	g := idempotent.NewGuard(memory(), &idempotent.Options{Logger: log.logger()})
	_, err := idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (chan int, error) { return nil, nil })
	require.NoError(t, err)
	require.Contains(t, log.String(), "could not be encoded")
}

//nolint:paralleltest // it changes the default logger
func TestDefaultLoggerIsLookedUpForEachRecord(t *testing.T) {
	var h counter
	down := &faulty{Store: memory(), acquire: failAcquire(errDown)}
	unprotected := idempotent.New(down, idempotent.Global, &idempotent.Options{OnFailure: idempotent.FailOpen, StoreTimeout: time.Millisecond})(&h)
	noPrincipal := idempotent.New(memory(), func(*http.Request) (string, error) { return "", nil }, nil)(&h)
	keyed := idempotent.New(memory(), idempotent.Global, nil)(&h)
	before := slog.Default()
	defer slog.SetDefault(before)
	var log logBuffer

	slog.SetDefault(log.logger())

	call(unprotected, "k", "")
	require.Contains(t, log.String(), "a call runs without protection")
	call(noPrincipal, "k", "")
	require.Contains(t, log.String(), "the principal of a key is empty")
	r := keyedRequest("k", strings.NewReader("csrf=token"))
	r.Header.Set("Content-Type", urlencoded)
	_ = r.PostFormValue("csrf")
	do(keyed, r)
	require.Contains(t, log.String(), "level=ERROR")
	require.Contains(t, log.String(), "an outer layer has parsed the request's form")
}

// disclosed collects all that logs, events, errors and error responses say.
type disclosed struct {
	logBuffer
	events eventLog
}

func (d *disclosed) options() idempotent.Options {
	return idempotent.Options{Logger: d.debugLogger(), Observe: func(ctx context.Context, e idempotent.Event) {
		d.events.observe(ctx, e)
		fmt.Fprintf(&d.logBuffer, "%+v %v\n", e, e.Err)
	}}
}

func (d *disclosed) debugLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(&d.logBuffer, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// ask sends a request. It notes the error, and the response if it is not one of the handler.
func (d *disclosed) ask(mw http.Handler, path, key, body string) {
	r := keyedRequest(key, strings.NewReader(body))
	r.URL.Path = path
	r, state := reqstate.Ensure(r)
	renderer := &apierror.Renderer{Logger: d.debugLogger()}
	var got reply
	isolated(func() { got = do(renderer.Handler(mw), r) })
	fmt.Fprintf(&d.logBuffer, "%v\n", state.Err())
	if got.Status >= 400 && !got.replayed() {
		fmt.Fprintln(&d.logBuffer, got.Body)
	}
}

const secretResponse = "SECRET-RESPONSE"

// secretHandler ends in another way for each path.
func secretHandler(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/stream":
		idempotent.Stream(r.Context())
	case "/panic":
		panic(http.ErrAbortHandler)
	case "/effect":
		_ = idempotent.BeginEffect(r.Context())
		w.WriteHeader(http.StatusBadGateway)
		return
	case "/slow":
		time.Sleep(time.Minute)
	case "/slow-failure":
		time.Sleep(time.Second)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, secretResponse)
}

func TestKeysAndBodiesAreNeverDisclosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const key, body = "SECRET-KEY", "SECRET-BODY"
		var d disclosed
		handler := http.HandlerFunc(secretHandler)
		store := &faulty{Store: memory()}
		o := d.options()
		mw := idempotent.New(store, idempotent.Global, &o)(handler)

		for _, path := range []string{"/", "/stream", "/panic", "/effect"} {
			d.ask(mw, path, key+path, body)
			d.ask(mw, path, key+path, body)
		}
		d.ask(mw, "/", key+"/", body+"!") // conflicts
		d.ask(mw, "/", key+" "+key, body) // is no key
		for _, path := range []string{"/slow", "/slow-failure"} {
			go d.ask(mw, path, key+path, body)
			synctest.Wait()
			d.ask(mw, path, key+path, body)
			time.Sleep(time.Minute)
		}
		store.finish = failFinish(errDown)
		d.ask(mw, "/", key+"1", body)
		for i, err := range []error{errDown, idempotent.ErrFull, idempotent.ErrQuota} {
			store.acquire = failAcquire(err)
			d.ask(mw, "/", fmt.Sprint(key, i), body)
		}
		store.acquire = failAcquire(errDown)
		open, tiny := o, o
		open.OnFailure, tiny.MaxBody = idempotent.FailOpen, 3
		d.ask(idempotent.New(store, idempotent.Global, &open)(handler), "/", key, body)
		d.ask(idempotent.New(store, idempotent.Global, &tiny)(handler), "/", key, body)
		damaged := idempotent.New(damaged{memory(), []byte(secretResponse)}, idempotent.Global, &o)(handler)
		for range 2 {
			d.ask(damaged, "/", key, body)
		}

		for outcome := range outcomes {
			require.Contains(t, d.events.outcomes(), outcome)
		}
		require.NotContains(t, d.String(), "SECRET")
		require.Contains(t, d.String(), "idempotency_id=")
	})
}

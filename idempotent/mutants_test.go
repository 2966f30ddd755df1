package idempotent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

func TestDuplicateInAnotherProcessIsWokenByTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var events seen
		first := idempotent.NewGuard(store, nil)
		second := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
		work := func(context.Context) (string, error) {
			time.Sleep(3 * time.Second)
			return "done", nil
		}
		go func() { _, _ = idempotent.Do(t.Context(), first, callOf("k"), work) }()
		synctest.Wait()

		v, err := idempotent.Do(t.Context(), second, callOf("k"), work)

		require.NoError(t, err)
		require.Equal(t, "done", v)
		require.Equal(t, 3*time.Second, events.last().Waited, "not a moment after the run has ended")
	})
}

func TestBoundOfOneWaiterIsOne(t *testing.T) {
	t.Parallel()
	const a, b = "customer a", "customer b"
	for name, test := range map[string]struct {
		maxWaiters int // one key can have a thirty-second of them, one principal an eighth
		calls      []idempotent.Call
	}{
		"of a key":   {32, []idempotent.Call{{Principal: a, Key: "1"}, {Principal: a, Key: "1"}, {Principal: a, Key: "1"}}},
		"of a scope": {8, []idempotent.Call{{Principal: a, Key: "1"}, {Principal: a, Key: "2"}, {Principal: a, Key: "1"}, {Principal: a, Key: "2"}}},
		"of all":     {1, []idempotent.Call{{Principal: a, Key: "1"}, {Principal: b, Key: "1"}, {Principal: a, Key: "1"}, {Principal: b, Key: "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events seen
				g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: test.maxWaiters, Observe: events.observe})
				var wg sync.WaitGroup
				for _, c := range test.calls {
					wg.Go(func() {
						_, _ = idempotent.Do(t.Context(), g, c, func(context.Context) (int, error) {
							time.Sleep(time.Second)
							return 1, nil
						})
					})
					synctest.Wait()
				}
				wg.Wait()
				require.Equal(t, 1, count(events.results(), idempotent.OutcomeReplayed))
				require.Equal(t, 1, count(events.results(), idempotent.OutcomeInProgress))
				require.Equal(t, len(test.calls)-2, count(events.results(), idempotent.OutcomeExecuted))
			})
		})
	}
}

// A call that has waited for another one of this process does not run in turn. If it gets the
// key of a process that has crashed, it leaves the record as it is.
func TestRecordOfACrashOutlivesACallThatDoesNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		var attempts []int
		work := func(ctx context.Context) (int, error) {
			attempts = append(attempts, idempotent.Attempt(ctx))
			return 1, nil
		}
		_, _ = idempotent.Do(t.Context(), idempotent.NewGuard(crash(store), nil), callOf("k"), work)
		time.Sleep(13 * time.Second) // 14 s of the lease are left

		var events seen
		g := idempotent.NewGuard(leased{store}, &idempotent.Options{Wait: 12 * time.Second, Observe: events.observe})
		var wg sync.WaitGroup
		ask := func() { _, _ = idempotent.Do(t.Context(), g, callOf("k"), work) }
		wg.Go(ask) // polls for 12 s
		time.Sleep(5 * time.Second)
		wg.Go(ask) // and takes over from it
		wg.Wait()
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeInProgress, idempotent.OutcomeLeaderFailed}, events.results())

		time.Sleep(time.Second)
		other := callOf("k")
		other.Fingerprint = idempotent.Fingerprint{1}
		_, err := idempotent.Do(t.Context(), g, other, work)
		require.Equal(t, apierror.CodeIdempotencyConflict, apierror.CodeOf(err), "the fingerprint is remembered")
		ask()
		require.Equal(t, []int{1, 3}, attempts, "and the attempts")
	})
}

func TestLeaseThatTheStoreDeniesIsLostImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory(), renew: func(func() error) error { return idempotent.ErrLost }}
		start := time.Now()
		_, _ = idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			require.Equal(t, 10*time.Second, time.Since(start), "at the first renewal, and not at the end of the lease")
			require.ErrorIs(t, context.Cause(ctx), idempotent.ErrLeaseLost)
			return 0, context.Cause(ctx)
		})
	})
}

// twice is an Executor whose first transaction fails, so that it runs again.
type twice struct {
	idempotent.Store
	outer context.Context
}

func (e *twice) Execute(ctx context.Context, _ idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	e.outer = ctx
	run(ctx, 1)
	run(ctx, 1)
	return idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: 1}, nil
}

func TestContextOfARunInAnExecutorEndsWithTheRun(t *testing.T) {
	t.Parallel()
	var before context.Context
	runs := 0
	store := &twice{Store: memory()}
	_, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), func(ctx context.Context) (int, error) {
		if runs++; runs == 2 {
			require.ErrorIs(t, before.Err(), context.Canceled)
		}
		require.NoError(t, ctx.Err())
		before = ctx
		return runs, nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, runs)
	require.ErrorIs(t, store.outer.Err(), context.Canceled)
}

func TestFlushOfAStreamReportsItsError(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		require.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mw.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
	}), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
}

type unclosable struct{ io.Reader }

var errClose = errors.New("close failed")

func (unclosable) Close() error { return errClose }

func TestCloseOfTheBodyReportsItsError(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		require.ErrorIs(t, r.Body.Close(), errClose)
	}}
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", unclosable{strings.NewReader("body")})
	r.Header.Set("Idempotency-Key", "k")
	idempotent.New(memory(), idempotent.Global, nil)(&h).ServeHTTP(httptest.NewRecorder(), r)
	require.EqualValues(t, 1, h.runs.Load())
}

// writes counts the calls of Write.
type writes struct {
	*httptest.ResponseRecorder
	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.ResponseRecorder.Write(p)
}

func TestResponseWithoutABodyIsSentWithoutAWrite(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"silent":     func(http.ResponseWriter, *http.Request) {},
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"a stream": func(w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.WriteHeader(http.StatusNoContent)
			require.NoError(t, http.NewResponseController(w).Flush())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mw := idempotent.New(memory(), idempotent.Global, nil)(handle)
			for again := range 2 {
				r := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
				r.Header.Set("Idempotency-Key", "k")
				w := &writes{ResponseRecorder: httptest.NewRecorder()}
				mw.ServeHTTP(w, r)
				if name != "a stream" || again == 0 {
					require.Zero(t, w.n)
				}
			}
		})
	}
}

func TestScopeThatAllShareHasNoBoundOfWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: 8}) // one for one principal
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				v, err := idempotent.Do(t.Context(), g, idempotent.Call{Principal: idempotent.GlobalPrincipal, Key: strconv.Itoa(i / 2)},
					func(context.Context) (int, error) {
						time.Sleep(time.Second)
						return 1, nil
					})
				if err != nil || v != 1 {
					t.Errorf("%d, %v", v, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestNothingIsKeptOfCallsThatHaveWaited(t *testing.T) {
	t.Parallel()
	for _, principal := range []string{"customer", idempotent.GlobalPrincipal} {
		synctest.Test(t, func(t *testing.T) {
			g := idempotent.NewGuard(memory(), nil)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					_, _ = idempotent.Do(t.Context(), g, idempotent.Call{Principal: principal, Key: "k"}, func(context.Context) (int, error) {
						time.Sleep(time.Second)
						return 1, nil
					})
				})
			}
			wg.Wait()
			require.Zero(t, g.Waiting())
		})
	}
}

func TestCallThatHasRunNeverRunsAgainUnprotected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked, finished int
		store := &faulty{
			Store: memory(),
			acquire: func(next func() (idempotent.Decision, error)) (idempotent.Decision, error) {
				if asked++; asked > 1 {
					return idempotent.Decision{}, errDown
				}
				return next()
			},
			finish: func(idempotent.Completion, func() error) error {
				finished++
				return idempotent.ErrLost
			},
		}
		var events seen
		g := idempotent.NewGuard(store, &idempotent.Options{OnFailure: idempotent.FailOpen, Observe: events.observe})
		var w work
		_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
		require.Equal(t, apierror.CodeServiceUnavailable, apierror.CodeOf(err))
		require.Equal(t, 1, w.runs)
		require.Equal(t, 1, finished, "a claim under which it may have run is not given back")
		require.Equal(t, idempotent.OutcomeStoreFailed, events.last().Outcome)
	})
}

func TestAuthorizeHidesNothingOfTheStore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		status int
	}{
		"full":       {idempotent.ErrFull, http.StatusServiceUnavailable},
		"over quota": {idempotent.ErrQuota, http.StatusTooManyRequests},
		"down":       {errDown, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &faulty{Store: memory(), acquire: func(func() (idempotent.Decision, error)) (idempotent.Decision, error) {
					return idempotent.Decision{}, test.err
				}}
				var h counter
				o := &idempotent.Options{Authorize: func(*http.Request) error { return apierror.CodePermissionDenied.New() }}
				require.Equal(t, test.status, call(idempotent.New(store, idempotent.Global, o)(&h), "k", "").Status)
				require.Zero(t, h.runs.Load())
			})
		})
	}
}

func TestStatusesAtTheBounds(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 999} {
		r, err := idempotent.DecodeResponse(idempotent.Response{Status: status}.Encode())
		require.NoError(t, err)
		require.Equal(t, status, r.Status)
	}
	for _, status := range []int{199, 1000} {
		require.Panics(t, func() { idempotent.Response{Status: status}.Encode() })
	}
}

func TestClaimsCarryTheDefaults(t *testing.T) {
	t.Parallel()
	var claims []idempotent.Claim
	store := claiming{memory(), &claims}
	_, err := idempotent.Do(t.Context(), idempotent.NewGuard(store, nil), callOf("k"), (&work{}).run)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	require.Equal(t, 30*time.Second, claims[0].Lease)
	require.Equal(t, 24*time.Hour, claims[0].Retention)
}

// claiming notes the claims.
type claiming struct {
	idempotent.Store
	claims *[]idempotent.Claim
}

func (c claiming) Acquire(ctx context.Context, claim idempotent.Claim) (idempotent.Decision, error) {
	*c.claims = append(*c.claims, claim)
	return c.Store.Acquire(ctx, claim)
}

func TestMoreOptionsThatPanic(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]idempotent.Options{
		"a lease too short for a third of it": {Lease: time.Millisecond - 1},
		"an empty method":                     {Methods: []string{""}},
		"HEAD":                                {Methods: []string{http.MethodHead}},
		"TRACE":                               {Methods: []string{http.MethodTrace}},
		"CONNECT":                             {Methods: []string{http.MethodConnect}},
		"an OnFailure that is none":           {OnFailure: 2},
	} {
		require.Panics(t, func() { idempotent.New(leased{memory()}, idempotent.Global, &o) }, name)
	}
	require.NotPanics(t, func() {
		idempotent.New(leased{memory()}, idempotent.Global, &idempotent.Options{Lease: time.Millisecond})
	})
}

func TestBodyWithoutABoundIsRead(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{-1, 2 << 20} {
		h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			require.NoError(t, err)
			require.EqualValues(t, 2<<20, n)
		}}
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxBody: -1})(&h)
		r := httptest.NewRequest(http.MethodPost, "/v1/resources", io.LimitReader(zeros{}, 2<<20))
		r.ContentLength = length
		r.Header.Set("Idempotency-Key", "k")
		mw.ServeHTTP(httptest.NewRecorder(), r)
		require.EqualValues(t, 1, h.runs.Load())
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestFormThatAnOuterLayerHasParsedAndPutBackIsRead(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "name=v", string(body))
	}}
	inner := idempotent.New(memory(), idempotent.Global, nil)(&h)
	call(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		_ = r.FormValue("name")
		r.Body = io.NopCloser(bytes.NewReader(body))
		inner.ServeHTTP(w, r)
	}), "k", "name=v")
	require.EqualValues(t, 1, h.runs.Load())
}

// hesitant is a body that has nothing to give the first time, or that fails then.
type hesitant struct {
	io.Reader
	err   error
	asked bool
}

func (r *hesitant) Read(p []byte) (int, error) {
	if !r.asked {
		r.asked = true
		return 0, r.err
	}
	return r.Reader.Read(p)
}

func TestFirstReadOfABodyThatGivesNothing(t *testing.T) {
	t.Parallel()
	for status, err := range map[int]error{http.StatusOK: nil, http.StatusBadRequest: io.ErrUnexpectedEOF} {
		mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := httptest.NewRequest(http.MethodPost, "/v1/resources", &hesitant{Reader: strings.NewReader("body"), err: err})
		r.ContentLength = 4
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
	}
}

func TestHeaderOfAFailedRunIsNotInItsError(t *testing.T) {
	t.Parallel()
	var events seen
	o := &idempotent.Options{Observe: events.observe}
	mw := idempotent.New(memory(), idempotent.Global, o)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "of what is not sent")
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hell")
	}))
	r := call(mw, "k", "")
	require.Equal(t, http.StatusInternalServerError, r.Status)
	require.Empty(t, r.Header.Get("X-Own"))
	require.Equal(t, apierror.CodeAPIError, apierror.CodeOf(events.last().Err))
}

func TestRewindForgetsWhatWasWritten(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "half")
		require.True(t, w.(interface{ Rewind() bool }).Rewind())
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusConflict)
		_, err := io.WriteString(w, "whole")
		require.NoError(t, err)
		_, err = io.WriteString(w, "!")
		require.ErrorIs(t, err, http.ErrContentLength)
	}}
	mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
	for range 2 {
		r := call(mw, "k", "")
		require.Equal(t, http.StatusConflict, r.Status)
		require.Equal(t, "whole", r.Body)
	}
	require.EqualValues(t, 1, h.runs.Load())
}

func TestControlsReportTheirErrors(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		c := http.NewResponseController(w)
		require.ErrorIs(t, c.SetReadDeadline(time.Time{}), http.ErrNotSupported)
		require.ErrorIs(t, c.SetWriteDeadline(time.Time{}), http.ErrNotSupported)
		require.ErrorIs(t, c.EnableFullDuplex(), http.ErrNotSupported)
	}}
	require.Equal(t, http.StatusOK, call(idempotent.New(memory(), idempotent.Global, nil)(&h), "k", "").Status)
	require.EqualValues(t, 1, h.runs.Load())
}

func TestByteWhereNoneIsAllowed(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		n, err := w.Write([]byte("x"))
		require.ErrorIs(t, err, http.ErrBodyNotAllowed)
		require.Zero(t, n)
		n, err = io.WriteString(w, "x")
		require.ErrorIs(t, err, http.ErrBodyNotAllowed)
		require.Zero(t, n)
	}}
	call(idempotent.New(memory(), idempotent.Global, nil)(&h), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestStreamThatCannotBeRecordedIsSentAndRecordedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var events seen
		start := time.Now()
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if time.Since(start) < 5*time.Second {
				return errDown
			}
			return next()
		}}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			_, err := io.WriteString(w, "a stream")
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
		}}
		o := &idempotent.Options{Observe: events.observe, Logger: slog.New(slog.NewTextHandler(&out, nil))}
		mw := idempotent.New(store, idempotent.Global, o)(&h)

		require.Equal(t, "a stream", call(mw, "k", "").Body)
		require.Contains(t, out.String(), "sent before it could be recorded")
		require.Contains(t, call(mw, "k", "").Body, "idempotency_response_unavailable")
		require.EqualValues(t, 1, h.runs.Load())
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable}, events.results())
	})
}

func TestRequestWithoutAKeyWithinARunBelongsToIt(t *testing.T) {
	t.Parallel()
	store := &journal{Store: memory()}
	var h counter
	inner := idempotent.New(store, idempotent.Global, &idempotent.Options{Required: true, AtMostOnce: true})(&h)
	outer := idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Del("Idempotency-Key")
		inner.ServeHTTP(w, r)
	}))
	require.Equal(t, http.StatusCreated, call(outer, "k", "").Status)
	require.EqualValues(t, 1, h.runs.Load())
	require.Contains(t, store.calls, "BeginEffect")
}

func TestRequestAfterARunDoesNotBelongToIt(t *testing.T) {
	t.Parallel()
	store := memory()
	var h counter
	var late *http.Request
	inner := idempotent.New(store, idempotent.ByPrincipal, nil)(&h)
	call(idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		late = r.Clone(context.WithoutCancel(r.Context()))
	})), "k", "")

	w := httptest.NewRecorder()
	inner.ServeHTTP(w, late)
	require.Equal(t, http.StatusUnauthorized, w.Code, "its key is looked at")
	require.Zero(t, h.runs.Load())
}

func TestLocationIsLeftUpToItsBound(t *testing.T) {
	t.Parallel()
	for length, left := range map[int]bool{1 << 10: true, 1<<10 + 1: false} {
		location := strings.Repeat("x", length)
		mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "created")
		}))
		call(mw, "k", "")
		again := call(mw, "k", "").Header["Location"]
		if left {
			require.Equal(t, []string{location}, again)
		} else {
			require.Nil(t, again)
		}
	}
}

func TestStoredFormThatNobodyWritesIsCorrupt(t *testing.T) {
	t.Parallel()
	// A head is: status, request id, number of values, fields.
	const status = "\xc8\x01" // 200
	stored := func(version byte, length int, head, body string) []byte {
		b := binary.BigEndian.AppendUint32([]byte{version}, uint32(length))
		return idempotent.AppendSum(append(append(b, head...), body...))
	}
	for name, test := range map[string]struct {
		head  string
		whole bool
	}{
		"no fields":                      {status + "\x00\x00", true},
		"a field":                        {status + "\x00\x01" + "s\x01A\x01\x01v", true},
		"a field that is nil":            {status + "\x00\x00" + "s\x01A\x00", true},
		"an added value":                 {status + "\x00\x01" + "a\x01A\x01\x01v", true},
		"a deleted field":                {status + "\x00\x00" + "d\x01A\x00", true},
		"an added field without a value": {status + "\x00\x00" + "a\x01A\x00", false},
		"a deleted field with a value":   {status + "\x00\x01" + "d\x01A\x01\x01v", false},
		"an unknown change of no value":  {status + "\x00\x00" + "x\x01A\x00", false},
		"an unknown change":              {status + "\x00\x01" + "x\x01A\x01\x01v", false},
		"more values than it says":       {status + "\x00\x01" + "s\x01A\x02\x01v\x01v", false},
		"fewer values than it says":      {status + "\x00\x02" + "s\x01A\x01\x01v", false},
		"values without a field":         {status + "\x00\x00" + "s\x01A\x01\x01v", false},
		"a field that is cut":            {status + "\x00\x01" + "s\x01A\x01\x02v", false},
		"a name that is cut":             {status + "\x00\x00" + "s\x02A", false},
		"a name that is cut at a number": {status + "\x00\x00" + "s\x02\x00", false},
		"a field without its number":     {status + "\x00\x00" + "s\x01A", false},
		"a request id that is cut":       {status + "\x02r", false},
		"a status that is too large":     {"\xe8\x07\x00\x00", false},
		"a status that is too small":     {"\xc7\x01\x00\x00", false},
		"a status that is cut":           {"\xc8", false},
		"a number that never ends":       {strings.Repeat("\xff", 12), false},
		"nothing":                        {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := idempotent.DecodeResponse(stored(1, len(test.head), test.head, "body"))
			if !test.whole {
				require.Error(t, err)
				require.Zero(t, r)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "body", string(r.Body))
			for _, length := range []int{1, len("body") + 1, 1 << 20} {
				_, err = idempotent.DecodeResponse(stored(1, len(test.head)+length, test.head, "body"))
				require.Error(t, err, "a head that is %d bytes longer than it is", length)
			}
			_, err = idempotent.DecodeResponse(stored(2, len(test.head), test.head, "body"))
			require.ErrorContains(t, err, "version 2")
		})
	}
}

func TestEveryStatusAndANilFieldComeBack(t *testing.T) {
	t.Parallel()
	for status := 200; status <= 999; status++ {
		r := idempotent.Response{Status: status, Header: http.Header{"Content-Type": nil}, Body: []byte("x"), RequestID: strings.Repeat("r", status-200)}
		back, err := idempotent.DecodeResponse(r.Encode())
		require.NoError(t, err)
		require.Equal(t, r, back)
		require.Nil(t, back.Header["Content-Type"])
	}
}

func TestValuesThatReplaceAnOuterLayersAreNotAddedToThem(t *testing.T) {
	t.Parallel()
	inner := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Link"] = []string{"<b>", "<c>"}
		_, _ = io.WriteString(w, "x")
	}))
	mw := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<a>")
		inner.ServeHTTP(w, r)
	})
	for range 2 {
		r := call(mw, "k", "")
		require.Equal(t, []string{"<b>", "<c>"}, r.Header["Link"])
		require.Equal(t, "x", r.Body)
	}
}

func TestLongOrStreamedWriteAfterReturnChangesNothing(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]bool{"over the limit": false, "a stream": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var late http.ResponseWriter
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10})(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					late = w
					if stream {
						idempotent.Stream(r.Context())
					}
				}))
			r := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
			r.Header.Set("Idempotency-Key", "k")
			w := httptest.NewRecorder()
			mw.ServeHTTP(w, r)

			_, err := late.Write(make([]byte, 100))
			require.Error(t, err)
			_, err = io.WriteString(late, strings.Repeat("x", 100))
			require.Error(t, err)
			require.Error(t, http.NewResponseController(late).Flush())
			require.False(t, late.(interface{ Rewind() bool }).Rewind())

			require.Empty(t, w.Body.String())
			again := call(mw, "k", "")
			require.Equal(t, http.StatusOK, again.Status)
			require.Empty(t, again.Body)
		})
	}
}

func TestValueThatCannotBeEncodedIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	g := idempotent.NewGuard(memory(), &idempotent.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	_, err := idempotent.Do(t.Context(), g, callOf("k"), func(context.Context) (chan int, error) { return nil, nil })
	require.NoError(t, err)
	require.Contains(t, out.String(), "could not be encoded")
}

func TestLateDeadlineDoesNotProlongTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) }}
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: 2 * time.Second})(&h)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go callWith(ctx, mw, "k")
		synctest.Wait()
		start := time.Now()
		require.Equal(t, http.StatusTooManyRequests, callWith(ctx, mw, "k").Status)
		require.Equal(t, 2*time.Second, time.Since(start))
		time.Sleep(time.Minute)
	})
}

func TestRunThatHasLostItsClaimWhileItStreamsStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		finished := 0
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if finished++; finished == 1 {
				return idempotent.ErrLost
			}
			return next()
		}}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.Header().Set("Location", "/v1/resources/1")
			w.WriteHeader(http.StatusCreated)
			_, err := io.WriteString(w, "created")
			require.ErrorIs(t, err, idempotent.ErrLeaseLost)
		}}
		mw := idempotent.New(store, idempotent.Global, nil)(&h)
		for range 2 {
			r := call(mw, "k", "")
			require.Equal(t, http.StatusConflict, r.Status)
			require.Contains(t, r.Body, "idempotency_response_unavailable")
		}
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestFingerprintMayReadTheBodyTwice(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "body", string(body))
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{
		Fingerprint: func(r *http.Request, body func() ([]byte, error)) (idempotent.Fingerprint, error) {
			for range 2 {
				b, err := body()
				require.NoError(t, err)
				require.Equal(t, "body", string(b))
			}
			return idempotent.FingerprintBody(r, body)
		},
	})(&h)
	require.Equal(t, http.StatusOK, call(mw, "k", "body").Status)
	require.EqualValues(t, 1, h.runs.Load())
}

func TestStreamThatFailsIsToldAsNotKept(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *http.Request, w http.ResponseWriter){
		"a panic": func(*http.Request, http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"Forget":  func(r *http.Request, _ http.ResponseWriter) { idempotent.Forget(r.Context()) },
		"a response that cannot be taken back": func(_ *http.Request, w http.ResponseWriter) {
			require.False(t, w.(interface{ Rewind() bool }).Rewind())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var events seen
			h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
				idempotent.Stream(r.Context())
				_, _ = io.WriteString(w, "a part")
				end(r, w)
			}}
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe})(&h)
			require.Equal(t, "a part", call(mw, "k", "").Body)
			require.Contains(t, call(mw, "k", "").Body, "idempotency_response_unavailable")
			require.EqualValues(t, 1, h.runs.Load())
			require.Equal(t, []idempotent.Outcome{idempotent.OutcomeNotKept, idempotent.OutcomeUnavailable}, events.results())
		})
	}
}

func TestResponseWithoutABoundIsKept(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: -1})(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		}))
	call(mw, "k", "")
	again := call(mw, "k", "")
	require.True(t, again.replayed())
	require.Len(t, again.Body, 3<<20)
}

func TestCallersAreToldToComeBackAtDifferentTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }}
		mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Wait: -1})(&h)
		go call(mw, "k", "")
		synctest.Wait()
		told := map[string]bool{}
		for range 100 {
			told[call(mw, "k", "").Header.Get("Retry-After")] = true
		}
		time.Sleep(time.Second)
		require.Equal(t, map[string]bool{"1": true, "2": true}, told)
	})
}

func TestLogNamesNoRecordWhereThereIsNone(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := &idempotent.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))}
	call(idempotent.New(memory(), idempotent.ByPrincipal, o)(http.NotFoundHandler()), "k", "")
	require.Contains(t, out.String(), "a request is refused")
	require.NotContains(t, out.String(), "idempotency_id")
}

func TestNothingIsAddedToAStreamThatIsShort(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hell")
	}))
	require.Equal(t, "hell", callWith(t.Context(), mw, "k").Body)
}

func TestDeletedFieldOfOneRequestIsNotDeletedInAReplay(t *testing.T) {
	t.Parallel()
	inner := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("Ratelimit")
		w.Header().Del("X-Outer")
	}))
	mw := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Ratelimit", "outer")
		w.Header().Set("X-Outer", "outer")
		inner.ServeHTTP(w, r)
	})
	require.Empty(t, call(mw, "k", "").Header.Get("Ratelimit"))
	again := call(mw, "k", "")
	require.Equal(t, "outer", again.Header.Get("Ratelimit"))
	require.Empty(t, again.Header.Get("X-Outer"))
}

func TestErrorStatusesAtTheBounds(t *testing.T) {
	t.Parallel()
	for status, told := range map[int]int{399: 500, 400: 400, 599: 599, 600: 500} {
		var events seen
		g := idempotent.NewGuard(memory(), &idempotent.Options{Observe: events.observe, Keep: func(int) bool { return true }})
		w := fails(apierror.Definition{Code: "odd", Type: apierror.TypeInvalidRequest, Status: status, Message: "Odd."}.New())
		for range 2 {
			_, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.Equal(t, apierror.Code("odd"), apierror.CodeOf(err))
			require.Equal(t, told, events.last().Status)
		}
		require.Equal(t, 1, w.runs)
	}
}

func TestErrorReplacesWhatAnExecutorCannotHold(t *testing.T) {
	t.Parallel()
	_, store := newExecutor()
	mw := idempotent.New(store, idempotent.Global, &idempotent.Options{MaxResponse: 1000})(apierror.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, strings.Repeat("x", 2000))
			require.Error(t, err)
			return apierror.CodePermissionDenied.New()
		}))
	require.Equal(t, http.StatusForbidden, call(mw, "k", "").Status)
}

func TestCallerWithoutAnyOuterLayerSeesWhatTheHandlerHasParsed(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{kind}", func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm() })
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", strings.NewReader("name=v"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Idempotency-Key", "k")
	idempotent.New(memory(), idempotent.Global, nil)(mux).ServeHTTP(httptest.NewRecorder(), r)
	require.Equal(t, "POST /v1/{kind}", r.Pattern)
	require.Equal(t, "v", r.PostForm.Get("name"))
}

func TestFieldsThatAreNeverRecorded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Set-Cookie", "Date", "Content-Length", "Request-Id", "X-Request-Id", "Idempotent-Replayed", "Original-Request",
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Access-Control-Allow-Origin", "Ratelimit", "Ratelimit-Policy", "X-Ratelimit-Limit",
		"Trailer:X-Sum", "set-cookie",
	} {
		r := idempotent.Response{Status: 200, Header: http.Header{name: {"v"}, "X-Own": {"v"}}}
		back, err := idempotent.DecodeResponse(r.Encode())
		require.NoError(t, err)
		require.Equal(t, http.Header{"X-Own": {"v"}}, back.Header, name)
	}
}

// statuses notes the statuses that are written.
type statuses struct {
	*httptest.ResponseRecorder
	all []int
}

func (w *statuses) WriteHeader(status int) {
	w.all = append(w.all, status)
	if status >= 200 {
		w.ResponseRecorder.WriteHeader(status)
	}
}

func TestFirstAndLastInformationalStatusPass(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusContinue)
		w.WriteHeader(199)
		w.WriteHeader(http.StatusCreated)
	}))
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", nil)
	r.Header.Set("Idempotency-Key", "k")
	w := &statuses{ResponseRecorder: httptest.NewRecorder()}
	mw.ServeHTTP(w, r)
	require.Equal(t, []int{100, 199, 201}, w.all)
}

func TestDefaultBoundOfABody(t *testing.T) {
	t.Parallel()
	for length, status := range map[int]int{1 << 20: http.StatusCreated, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
		var h counter
		require.Equal(t, status, call(idempotent.New(memory(), idempotent.Global, nil)(&h), "k", strings.Repeat("x", length)).Status)
	}
}

// early is a store whose Waiter wakes a caller too early once.
type early struct {
	passing
	woken *atomic.Bool
}

func (e early) Wait(ctx context.Context, id idempotent.ID) error {
	if !e.woken.Swap(true) {
		return nil
	}
	return e.passing.Wait(ctx, id)
}

func TestWaiterIsAskedAgainAfterAnEarlyHint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := idempotent.NewMemory(nil)
		var events seen
		second := idempotent.NewGuard(early{passing{m, m}, new(atomic.Bool)}, &idempotent.Options{Observe: events.observe})
		work := func(context.Context) (int, error) {
			time.Sleep(3 * time.Second)
			return 1, nil
		}
		go func() { _, _ = idempotent.Do(t.Context(), idempotent.NewGuard(m, nil), callOf("k"), work) }()
		synctest.Wait()
		_, err := idempotent.Do(t.Context(), second, callOf("k"), work)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, events.last().Waited)
	})
}

func TestEndOfASilentRunSaysWhy(t *testing.T) {
	t.Parallel()
	shutdown := errors.New("the server ends")
	for name, test := range map[string]struct {
		cause error
		told  apierror.Code
	}{
		"the client has left": {context.Canceled, ""},
		"the server ends":     {shutdown, apierror.CodeServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			var events seen
			mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Observe: events.observe})(
				http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					idempotent.Stream(r.Context())
					cancel(test.cause)
					<-r.Context().Done()
				}))
			callWith(ctx, mw, "k")
			err := events.last().Err
			require.ErrorIs(t, err, test.cause)
			require.Equal(t, test.told, apierror.CodeOf(err))
		})
	}
}

func TestInnerMiddlewareBeginsTheEffect(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		strip, markFails bool
		status           int
	}{
		"a key":                       {status: http.StatusCreated},
		"no key":                      {strip: true, status: http.StatusCreated},
		"an effect that cannot begin": {markFails: true, status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &faulty{Store: memory(), mark: func(next func() error) error {
					if test.markFails {
						return errDown
					}
					return next()
				}}
				var h counter
				inner := idempotent.New(store, idempotent.Global, &idempotent.Options{AtMostOnce: true})(&h)
				outer := idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if test.strip {
						r = r.Clone(r.Context())
						r.Header.Del("Idempotency-Key")
					}
					inner.ServeHTTP(w, r)
				}))
				require.Equal(t, test.status, call(outer, "k", "").Status)
				require.Equal(t, test.status == http.StatusCreated, h.runs.Load() == 1)
			})
		})
	}
}

func TestLossIsRetriedAsLongAsACallWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost := 0
		store := &faulty{Store: memory(), finish: func(_ idempotent.Completion, next func() error) error {
			if lost++; lost <= 4 {
				return idempotent.ErrLost
			}
			return next()
		}}
		var events seen
		var w work
		g := idempotent.NewGuard(store, &idempotent.Options{Observe: events.observe})
		for range 2 {
			v, err := idempotent.Do(t.Context(), g, callOf("k"), w.run)
			require.NoError(t, err)
			require.Equal(t, "run 1", v)
		}
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeExecuted, idempotent.OutcomeReplayed}, events.results())
	})
}

func TestReplayOfAResolvedRecordNamesNoRequest(t *testing.T) {
	t.Parallel()
	m := idempotent.NewMemory(nil)
	var events seen
	o := &idempotent.Options{Observe: events.observe}
	mw := idempotent.New(m, idempotent.Global, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, idempotent.BeginEffect(r.Context()))
		w.WriteHeader(http.StatusInternalServerError)
	}))
	call(mw, "k", "")
	require.NoError(t, m.Resolve(t.Context(), o.ID(idempotent.GlobalPrincipal, "k"), idempotent.Completion{
		State: idempotent.StateDone, Response: idempotent.Response{Status: http.StatusAccepted}.Encode(), Retention: time.Hour,
	}))
	again := call(mw, "k", "")
	require.Equal(t, http.StatusAccepted, again.Status)
	require.NotContains(t, again.Header, "Original-Request")
	require.Equal(t, http.StatusAccepted, events.last().Status)
}

func TestDamagedRecordIsNotGivenToACodec(t *testing.T) {
	t.Parallel()
	g := idempotent.NewGuard(damaging{memory(), []byte("garbage garbage")}, nil)
	c := callOf("k")
	c.Codec = rawCodec{}
	for again := range 2 {
		_, err := idempotent.Do(t.Context(), g, c, func(context.Context) ([]byte, error) { return []byte("v"), nil })
		require.Equal(t, again == 1, apierror.CodeOf(err) == apierror.CodeAPIError)
	}
}

func TestResponseWithoutRoomIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	store := &faulty{Store: memory(), finish: func(c idempotent.Completion, next func() error) error {
		if c.State == idempotent.StateDone {
			return idempotent.ErrFull
		}
		return next()
	}}
	g := idempotent.NewGuard(store, &idempotent.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	_, err := idempotent.Do(t.Context(), g, callOf("k"), (&work{}).run)
	require.NoError(t, err)
	require.Contains(t, out.String(), "no room for a response")
}

func TestStreamInAnExecutorOutlivesItsClient(t *testing.T) {
	t.Parallel()
	_, store := newExecutor()
	ctx, cancel := context.WithCancel(t.Context())
	h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
		cancel()
		idempotent.Stream(r.Context())
		require.NoError(t, r.Context().Err())
	}}
	callWith(ctx, idempotent.New(store, idempotent.Global, nil)(&h), "k")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestWaiterThatLeavesFreesOnePlaceOfItsScope(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events seen
		// One principal can have two waiters, and one key one.
		g := idempotent.NewGuard(memory(), &idempotent.Options{MaxWaiters: 16, Observe: events.observe})
		ask := func(ctx context.Context, key string) {
			go func() {
				_, _ = idempotent.Do(ctx, g, callOf(key), func(context.Context) (int, error) {
					time.Sleep(5 * time.Second)
					return 1, nil
				})
			}()
			synctest.Wait()
		}
		leaves, cancel := context.WithCancel(t.Context())
		for _, key := range []string{"a", "b", "c"} {
			ask(t.Context(), key) // runs
		}
		ask(t.Context(), "a")
		ask(leaves, "b")
		cancel()
		synctest.Wait()
		for _, key := range []string{"b", "c", "c"} { // the first of them may wait
			ask(t.Context(), key)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, 3, count(events.results(), idempotent.OutcomeInProgress), "one has left, and two found no place")
		require.Equal(t, 2, count(events.results(), idempotent.OutcomeReplayed))
	})
}

func TestRecordedStreamHasNoLeaseToLose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			_, _ = io.WriteString(w, "a")
			time.Sleep(time.Minute)
			require.NoError(t, r.Context().Err())
		}}
		call(idempotent.New(leased{memory()}, idempotent.Global, nil)(&h), "k", "")
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestSkipAndRequiredAskForEachRequest(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/resources", func(http.ResponseWriter, *http.Request) {})
	o := &idempotent.Options{Required: true, Skip: func(r *http.Request) bool { return r.URL.Query().Has("skip") }}
	mw := idempotent.New(memory(), idempotent.Global, o)(mux)
	for target, status := range map[string]int{
		"/v1/resources":      http.StatusBadRequest,
		"/v1/resources?skip": http.StatusOK,
		"/unknown":           http.StatusNotFound,
	} {
		w := httptest.NewRecorder()
		mw.ServeHTTP(w, httptest.NewRequest(http.MethodPost, target, nil))
		require.Equal(t, status, w.Code, target)
	}
}

func TestBodyOfOneByteThatIsGoneIsAMistake(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", strings.NewReader(""))
	r.ContentLength = 1
	r.Header.Set("Idempotency-Key", "k")
	w := httptest.NewRecorder()
	var h counter
	idempotent.New(memory(), idempotent.Global, nil)(&h).ServeHTTP(w, r)
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Zero(t, h.runs.Load())
}

// patient notes how long it may take to answer a claim.
type patient struct {
	idempotent.Store
	left time.Duration
}

func (p *patient) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	deadline, _ := ctx.Deadline()
	p.left = time.Until(deadline)
	return p.Store.Acquire(ctx, c)
}

func TestStoreTimeoutIsAtMostAThirdOfTheLease(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]time.Duration{
		0: time.Second, 3 * time.Second: 3 * time.Second, time.Minute: 4 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &patient{Store: memory()}
			g := idempotent.NewGuard(store, &idempotent.Options{Lease: 12 * time.Second, StoreTimeout: timeout})
			_, err := idempotent.Do(t.Context(), g, callOf("k"), (&work{}).run)
			require.NoError(t, err)
			require.Equal(t, want, store.left)
		})
	}
}

func TestContentLengthOfNothingAllowsNothing(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(999)
		_, err := io.WriteString(w, "x")
		require.ErrorIs(t, err, http.ErrContentLength)
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{Keep: func(int) bool { return true }})(&h)
	for range 2 {
		r := call(mw, "k", "")
		require.Equal(t, 999, r.Status)
		require.Empty(t, r.Body)
	}
	require.EqualValues(t, 1, h.runs.Load())
}

// adder adds a value to each field when the head goes out.
type adder struct{ http.ResponseWriter }

func (w adder) WriteHeader(status int) {
	for _, name := range []string{"Idempotent-Replayed", "Original-Request", "Content-Length"} {
		w.Header().Add(name, "added")
	}
	w.ResponseWriter.WriteHeader(status)
}

func TestValueAddedToAReplayChangesNoOtherField(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	first := call(mw, "k", "")
	again := call(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mw.ServeHTTP(adder{w}, r) }), "k", "")
	require.Equal(t, []string{"true", "added"}, again.Header["Idempotent-Replayed"])
	require.Equal(t, []string{first.Header.Get("Request-Id"), "added"}, again.Header["Original-Request"])
	require.Equal(t, []string{"5", "added"}, again.Header["Content-Length"])
}

func TestSecretIsCopied(t *testing.T) {
	t.Parallel()
	o := &idempotent.Options{Secret: []byte("secret")}
	g := idempotent.NewGuard(memory(), o)
	idOf := func() (id idempotent.ID) {
		_, err := idempotent.Do(t.Context(), g, idempotent.Call{Principal: "p", Key: "k"}, func(ctx context.Context) (int, error) {
			owner, _ := idempotent.OwnerOf(ctx)
			id = owner.ID
			return 0, errDown // the key is free again
		})
		require.ErrorIs(t, err, errDown)
		return id
	}
	before := idOf()
	o.Secret[0] = 'S'
	require.Equal(t, before, idOf())
}

func TestStreamThatIsLostAfterItWasSentIsNotRunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var out bytes.Buffer
		var events seen
		store := &faulty{Store: memory(), finish: func(idempotent.Completion, func() error) error {
			if time.Since(start) < 5*time.Second {
				return errDown
			}
			return idempotent.ErrLost
		}}
		h := counter{serve: func(_ int64, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			_, _ = io.WriteString(w, "a stream")
			time.Sleep(10 * time.Second)
		}}
		o := &idempotent.Options{Observe: events.observe, Logger: slog.New(slog.NewTextHandler(&out, nil))}
		require.Equal(t, "a stream", call(idempotent.New(store, idempotent.Global, o)(&h), "k", "").Body)
		require.Less(t, time.Since(start), 15*time.Second, "there is no other answer to wait for")
		require.Equal(t, []idempotent.Outcome{idempotent.OutcomeUnrecorded}, events.results())
		require.Contains(t, out.String(), "a claim was lost during the run")
		require.EqualValues(t, 1, h.runs.Load())
	})
}

func TestStreamIsRecordedOnce(t *testing.T) {
	t.Parallel()
	store := &journal{Store: memory()}
	call(idempotent.New(store, idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		idempotent.Stream(r.Context())
		_, _ = io.WriteString(w, "a stream")
	})), "k", "")
	require.Equal(t, 1, len(store.calls)-1, "%v, the claim and the record", store.calls)
}

func TestEarlierOfDeadlineAndWriteTimeoutEndsTheWait(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ deadline, write time.Duration }{
		"the deadline":         {2 * time.Second, 4 * time.Second},
		"the WriteTimeout":     {4 * time.Second, 2 * time.Second},
		"a WriteTimeout alone": {0, 2 * time.Second},
		"a deadline alone":     {2 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := counter{serve: func(int64, http.ResponseWriter, *http.Request) { time.Sleep(8 * time.Second) }}
				mw := idempotent.New(memory(), idempotent.Global, nil)(&h)
				go callWith(t.Context(), mw, "k")
				synctest.Wait()
				ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{WriteTimeout: test.write})
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				start := time.Now()
				require.Equal(t, http.StatusTooManyRequests, callWith(ctx, mw, "k").Status)
				require.Equal(t, 1800*time.Millisecond, time.Since(start))
				time.Sleep(8 * time.Second)
			})
		})
	}
}

// cut is a connection that is gone.
type cut struct{ http.ResponseWriter }

func (cut) Write([]byte) (int, error) { return 0, errDown }

func TestWriterIsToldThatItsConnectionIsGone(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, "held back")
		require.NoError(t, err)
		_, err = w.Write(make([]byte, 100))
		require.ErrorIs(t, err, errDown)
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{MaxResponse: 10})(&h)
	call(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mw.ServeHTTP(cut{w}, r) }), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
}

func TestLengthOfABodyThatIsNotSentIsNoShortResponse(t *testing.T) {
	t.Parallel()
	mw := idempotent.New(memory(), idempotent.Global, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusNotModified)
	}))
	for range 2 {
		require.Equal(t, http.StatusNotModified, call(mw, "k", "").Status)
	}
}

func TestBodyThatBreaksIsTheClients(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/v1/resources", &hesitant{err: errDown})
	r.Header.Set("Idempotency-Key", "k")
	w := httptest.NewRecorder()
	var h counter
	idempotent.New(memory(), idempotent.Global, nil)(&h).ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Zero(t, h.runs.Load())
}

func TestInnerMiddlewareMarksNothingUnasked(t *testing.T) {
	t.Parallel()
	store := &journal{Store: memory()}
	var h counter
	inner := idempotent.New(store, idempotent.Global, nil)(&h)
	call(idempotent.New(store, idempotent.Global, nil)(inner), "k", "")
	require.EqualValues(t, 1, h.runs.Load())
	require.NotContains(t, store.calls, "BeginEffect")
}

func TestHandlerReadsABodyThatIsNotLoaded(t *testing.T) {
	t.Parallel()
	h := counter{serve: func(_ int64, _ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "body", string(body))
	}}
	mw := idempotent.New(memory(), idempotent.Global, &idempotent.Options{
		Fingerprint: func(*http.Request, func() ([]byte, error)) (idempotent.Fingerprint, error) {
			return idempotent.Fingerprint{1}, nil
		},
	})(&h)
	require.Equal(t, http.StatusOK, call(mw, "k", "body").Status)
	require.EqualValues(t, 1, h.runs.Load())
}

package ratelimit_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/ratelimit"
)

// tokens returns a rule of 100 units per hour, which estimates a request at 60.
func tokens(name string) ratelimit.Rule {
	return ratelimit.Rule{
		Name: name, Limit: ratelimit.PerHour(100), Key: ratelimit.ByAPIKey, Settled: true, Cost: func(*http.Request) int { return 60 },
	}
}

// left returns what remains in the bucket of a rule. During a test, an hour's limit gives
// nothing back.
func left(t *testing.T, l ratelimit.Limiter, rule, key string) int {
	t.Helper()
	d, err := l.Take(t.Context(), ratelimit.Charge{Rule: rule, Key: "api_key:" + key, Limit: ratelimit.PerHour(100)})
	require.NoError(t, err)
	return d.Remaining
}

// settling settles the rules in X-Settle ("rule=cost"), and answers with the errors.
var settling = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	for _, v := range r.Header["X-Settle"] {
		rule, cost, _ := strings.Cut(v, "=")
		n, err := strconv.Atoi(cost)
		if err != nil {
			panic(err)
		}
		if err := ratelimit.Settle(r.Context(), rule, n); err != nil {
			_, _ = io.WriteString(w, err.Error()+"\n")
		}
	}
	ok(w, r)
})

func TestSettleChargesTheRealCost(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		settle []string
		left   int
		errs   string
	}{
		"never":                  {nil, 40, ""},
		"less":                   {[]string{"tokens=10"}, 90, ""},
		"as much":                {[]string{"tokens=60"}, 40, ""},
		"more":                   {[]string{"tokens=75"}, 25, ""},
		"one more":               {[]string{"tokens=61"}, 39, ""},
		"one less":               {[]string{"tokens=59"}, 41, ""},
		"nothing":                {[]string{"tokens=0"}, 100, ""},
		"more than a burst":      {[]string{"tokens=1000"}, 0, ""},
		"more than 1e9":          {[]string{"tokens=9223372036854775807"}, 0, ""},
		"twice":                  {[]string{"tokens=10", "tokens=20"}, 90, "ratelimit: the request is already settled\n"},
		"a negative cost":        {[]string{"tokens=-1"}, 40, "ratelimit: a Charge's Cost is negative\n"},
		"another rule":           {[]string{"other=10"}, 40, "ratelimit: the request has no rule \"other\" that can be settled\n"},
		"a rule without Settled": {[]string{"requests=10"}, 40, "ratelimit: the request has no rule \"requests\" that can be settled\n"},
		"less, after an error":   {[]string{"tokens=-1", "tokens=10"}, 90, "ratelimit: a Charge's Cost is negative\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := ratelimit.NewMemory(nil)
				h := ratelimit.New(m, nil, byKey("requests", ratelimit.PerHour(100)), tokens("tokens"))(settling)
				r := request("X-Api-Key", "sk_1")
				r.Header["X-Settle"] = row.settle
				w := serve(h, r)
				require.Equal(t, 200, w.Code)
				require.Equal(t, row.errs, w.Body.String())
				require.Equal(t, row.left, left(t, m, "tokens", "sk_1"))
				require.Equal(t, 99, left(t, m, "requests", "sk_1"))
				require.Equal(t, 100, left(t, m, "tokens", "sk_2"))
			})
		})
	}
}

func TestDebtDeniesUntilItIsPaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ratelimit.New(ratelimit.NewMemory(nil), nil, tokens("tokens"))(settling)
		r := request("X-Api-Key", "sk_1", "X-Settle", "tokens=150")
		require.Equal(t, 200, serve(h, r).Code)
		w := serve(h, r)
		require.Equal(t, 429, w.Code)
		require.Equal(t, "3960", w.Header().Get("Retry-After"), "110 units of 36 seconds")
		require.Equal(t, `"tokens";r=0;t=1836`, w.Header().Get("RateLimit"))
		require.Equal(t, 200, get(h, "sk_2").Code)
		time.Sleep(3960*time.Second - time.Nanosecond)
		require.Equal(t, 429, serve(h, r).Code)
		time.Sleep(time.Nanosecond)
		require.Equal(t, 200, serve(h, r).Code)
	})
}

func TestDeniedRequestsOfSettledRulesReachNoHandler(t *testing.T) {
	t.Parallel()
	reached := 0
	h := ratelimit.New(ratelimit.NewMemory(nil), nil, tokens("tokens"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	for range 3 { // only one fits, at 60 of 100
		get(h, "sk_1")
	}
	require.Equal(t, http.StatusUnauthorized, get(h, "").Code)
	require.Equal(t, 1, reached)
}

func TestSettleWithADerivedContext(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	late := make(chan func() error, 1)
	for name, row := range map[string]struct {
		settle func(ctx context.Context) error
	}{
		"derived": {func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(context.WithValue(ctx, http.ServerContextKey, nil), time.Minute)
			defer cancel()
			return ratelimit.Settle(ctx, "tokens", 10)
		}},
		"ended": {func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ratelimit.Settle(ctx, "tokens", 10)
		}},
		"later": {func(ctx context.Context) error {
			late <- func() error { return ratelimit.Settle(ctx, "tokens", 10) }
			return nil
		}},
	} {
		var ctxErr error
		l := &watching{Memory: m, err: &ctxErr}
		h := ratelimit.New(l, nil, tokens("tokens"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, row.settle(r.Context()))
			ok(w, r)
		}))
		require.Equal(t, 200, get(h, name).Code)
		if name == "later" {
			require.Equal(t, 40, left(t, m, "tokens", name))
			require.NoError(t, (<-late)())
		}
		require.Equal(t, 90, left(t, m, "tokens", name), name)
		require.NoError(t, ctxErr, "Adjust must not be canceled")
	}
	require.Error(t, ratelimit.Settle(t.Context(), "tokens", 1))
	require.Error(t, ratelimit.Reset(t.Context(), "tokens"))
}

// watching records the error of the context that Adjust gets.
type watching struct {
	*ratelimit.Memory
	err *error
}

func (w *watching) Adjust(ctx context.Context, c ratelimit.Charge) error {
	*w.err = ctx.Err()
	return w.Memory.Adjust(ctx, c)
}

func TestSettleFindsRulesOfOuterMiddleware(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	h := ratelimit.New(m, nil, tokens("outer"))(ratelimit.New(m, nil, byKey("x", ratelimit.PerHour(1e6)))(
		ratelimit.New(m, nil, tokens("a"), tokens("b"))(settling)))
	w := serve(h, request("X-Api-Key", "sk_1", "X-Settle", "outer=1", "X-Settle", "b=2"))
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, []int{99, 40, 98}, []int{left(t, m, "outer", "sk_1"), left(t, m, "a", "sk_1"), left(t, m, "b", "sk_1")})
}

// ending is a handler that ends as X-How says.
var ending = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("X-How") {
	case "401":
		w.WriteHeader(http.StatusUnauthorized)
	case "hints":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	case "settle":
		if err := ratelimit.Settle(r.Context(), "tokens", 5); err != nil {
			panic(err)
		}
	case "panic":
		panic(http.ErrAbortHandler)
	case "hijack":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.Close()
	case "stream":
		for range 3 {
			_, _ = io.WriteString(w, "data\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
		}
	}
})

func TestCostAfterGetsTheStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		how    string
		cost   int
		status int // 0 if CostAfter is not called
		left   int
	}{
		{"return", 0, 200, 100},
		{"return", -1, 200, 40},
		{"401", 1, 401, 99},
		{"hints", 7, 202, 93},
		{"settle", 50, 0, 95},
		{"panic", 0, 0, 40},
		{"hijack", 3, 101, 97},
		{"stream", 10, 200, 90},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, start := ratelimit.NewMemory(nil), time.Now()
			status, ended := 0, time.Duration(0)
			rule := tokens("tokens")
			rule.Settled = false
			rule.CostAfter = func(_ *http.Request, got int) int {
				require.Zero(t, status, "CostAfter is called once")
				status, ended = got, time.Since(start)
				return row.cost
			}
			s := memhttp.New(ratelimit.New(m, nil, rule)(ending))
			defer s.Close()

			atOnce(t, s, 1, "X-Api-Key", "sk_1", "X-How", row.how)
			time.Sleep(10 * time.Second)
			synctest.Wait()

			require.Equal(t, row.status, status, row.how)
			require.Equal(t, row.how == "stream", ended == 3*time.Second, "CostAfter is called after the stream")
			require.Equal(t, row.left, left(t, m, "tokens", "sk_1"), row.how)
		})
	}
}

func TestResetFillsTheBucket(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	fails := true
	rule := tokens("login")
	rule.CostAfter = func(*http.Request, int) int { return 1000 } // not called after a Reset
	h := ratelimit.New(m, nil, rule)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fails {
			require.NoError(t, ratelimit.Reset(r.Context(), "login"))
			require.Error(t, ratelimit.Reset(r.Context(), "login"))
			require.Error(t, ratelimit.Settle(r.Context(), "login", 3))
		}
		ok(w, r)
	}))
	require.Equal(t, 200, get(h, "sk_1").Code)
	require.Equal(t, 429, get(h, "sk_1").Code)
	require.NoError(t, m.Reset(t.Context(), "login", "api_key:sk_1"))
	fails = false
	require.Equal(t, 200, get(h, "sk_1").Code)
	require.Equal(t, 100, left(t, m, "login", "sk_1"))
}

// adjustable is a limiter without Reset.
type adjustable struct {
	ratelimit.Limiter
	ratelimit.Adjuster
}

func TestResetNeedsAResetter(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	h := ratelimit.New(adjustable{m, m}, nil, tokens("tokens"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.ErrorIs(t, ratelimit.Reset(r.Context(), "tokens"), errors.ErrUnsupported)
		ok(w, r)
	}))
	require.Equal(t, 200, get(h, "sk_1").Code)
}

func TestSettleOfARequestThatWasNotCharged(t *testing.T) {
	t.Parallel()
	errDown := errors.New("down")
	skip := tokens("tokens")
	skip.Skip = func(*http.Request) bool { return true }
	unlimited := tokens("tokens")
	unlimited.LimitFor = func(*http.Request) ratelimit.Limit { return ratelimit.Unlimited() }
	optional := tokens("tokens")
	optional.KeyOptional, optional.Key = true, ratelimit.ByHeader("X-Org")
	costly := tokens("tokens")
	costly.Cost = func(*http.Request) int { return 101 }
	keyless := tokens("tokens")
	keyless.Key = ratelimit.ByHeader("X-Org")
	for name, row := range map[string]struct {
		rule ratelimit.Rule
		o    ratelimit.Options
		err  error
	}{
		"skipped":          {rule: skip},
		"unlimited":        {rule: unlimited},
		"without a key":    {rule: optional},
		"bypassed":         {rule: tokens("tokens"), o: ratelimit.Options{OnFailure: ratelimit.FailOpen}, err: errDown},
		"denied in shadow": {rule: costly, o: ratelimit.Options{Shadow: true}},
		"no key in shadow": {rule: keyless, o: ratelimit.Options{Shadow: true}},
		"failed in shadow": {rule: tokens("tokens"), o: ratelimit.Options{Shadow: true, OnFailure: ratelimit.FailClosed}, err: errDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &broken{Memory: ratelimit.NewMemory(nil), err: row.err}
			row.o.Logger = slog.New(slog.DiscardHandler)
			ran := 0
			h := ratelimit.New(l, &row.o, row.rule)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ran++
				require.NoError(t, ratelimit.Reset(r.Context(), "tokens"))
				require.Error(t, ratelimit.Settle(r.Context(), "tokens", 70), "already settled")
				ok(w, r)
			}))
			require.Equal(t, 200, get(h, "sk_1").Code)
			h = ratelimit.New(l, &row.o, row.rule)(settling)
			w := serve(h, request("X-Api-Key", "sk_1", "X-Settle", "tokens=70"))
			require.Equal(t, 200, w.Code)
			require.Empty(t, w.Body.String())
			require.Equal(t, 1, ran)
			require.Equal(t, 100, left(t, l.Memory, "tokens", "sk_1"))
		})
	}
}

// Without settling, the shadow would count more than the real limit.
func TestSettleInShadowMode(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	h := ratelimit.New(m, &ratelimit.Options{Shadow: true}, tokens("tokens"))(settling)
	require.Equal(t, 200, serve(h, request("X-Api-Key", "sk_1", "X-Settle", "tokens=10")).Code)
	require.Equal(t, 90, left(t, m, "tokens", "sk_1"))
}

func TestSettleOfARequestThatIsDeniedInShadowModeGivesNothingBack(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	h := ratelimit.New(m, &ratelimit.Options{Shadow: true}, tokens("tokens"))(settling)
	require.Equal(t, 200, get(h, "sk_1").Code) // charged 60 of 100
	w := serve(h, request("X-Api-Key", "sk_1", "X-Settle", "tokens=0"))
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, 40, left(t, m, "tokens", "sk_1"))
}

func TestSettleAdjustsTheLocalLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &broken{Memory: ratelimit.NewMemory(nil), err: errors.New("down")}
		h := ratelimit.New(l, &ratelimit.Options{Logger: slog.New(slog.DiscardHandler)}, tokens("tokens"))(settling)
		require.Equal(t, 200, serve(h, request("X-Api-Key", "sk_1", "X-Settle", "tokens=10")).Code)
		w := serve(h, request("X-Api-Key", "sk_1"))
		require.Equal(t, 200, w.Code)
		require.Equal(t, `"tokens";r=30;t=36`, w.Header().Get("RateLimit"))
		require.Equal(t, 100, left(t, l.Memory, "tokens", "sk_1"))
	})
}

// unsettled is a limiter whose Adjust fails.
type unsettled struct{ *ratelimit.Memory }

var errAdjust = errors.New("the reply was lost")

func (unsettled) Adjust(context.Context, ratelimit.Charge) error { return errAdjust }

func TestFailedSettleKeepsTheEstimate(t *testing.T) {
	t.Parallel()
	var log lines
	rule := tokens("tokens")
	rule.CostAfter = func(*http.Request, int) int { return 10 }
	l := unsettled{ratelimit.NewMemory(nil)}
	h := ratelimit.New(l, &ratelimit.Options{Logger: log.logger()}, rule)(settling)
	w := serve(h, request("X-Api-Key", "sk_1", "X-Settle", "tokens=10"))
	require.Equal(t, errAdjust.Error()+"\n", w.Body.String(), "the handler has the error, so it is not logged")
	require.Empty(t, log.drain())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 10 { // a canceled request does not hide the error
		require.Equal(t, 200, serve(h, request("X-Api-Key", strconv.Itoa(i)).WithContext(gone)).Code)
	}
	require.NotEmpty(t, log.drain())
	require.Equal(t, 40, left(t, l, "tokens", "sk_1"), "the estimate stays")
}

func TestSettledRulesNeedAnAdjuster(t *testing.T) {
	t.Parallel()
	type single struct{ ratelimit.Limiter }
	l := single{ratelimit.NewMemory(nil)}
	require.Panics(t, func() { ratelimit.New(l, nil, tokens("tokens")) })
	after := byKey("", ratelimit.PerHour(1))
	after.CostAfter = func(*http.Request, int) int { return 0 }
	require.Panics(t, func() { ratelimit.New(l, nil, after) })
}

// A settled rule gives the handler a copy of the request. Outer layers use the original.
func TestSettledRulesReturnPatternAndForm(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /upload/{id}", func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseMultipartForm(0))
		ok(w, r)
	})
	limited := ratelimit.New(ratelimit.NewMemory(nil), nil, tokens("tokens"))(mux)
	var seen *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limited.ServeHTTP(w, r)
		seen = r
	}))
	var body strings.Builder
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "x")
	require.NoError(t, err)
	_, err = io.WriteString(file, strings.Repeat("x", 1<<20))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/upload/7", strings.NewReader(body.String()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("X-Api-Key", "sk_1")
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
	s.Close()
	require.Equal(t, "POST /upload/{id}", seen.Pattern)
	require.NotNil(t, seen.MultipartForm)
	_, err = seen.MultipartForm.File["file"][0].Open()
	require.ErrorIs(t, err, os.ErrNotExist, "net/http has removed the file")
}

func TestEveryRuleIsSettledByCostAfter(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(nil)
	after := func(cost int) func(*http.Request, int) int { return func(*http.Request, int) int { return cost } }
	a, b, c, d := tokens("a"), tokens("b"), tokens("c"), tokens("d")
	b.CostAfter, c.CostAfter, d.CostAfter = after(1), after(-1), after(2)
	h := ratelimit.New(m, nil, a, b, c, d)(settling)
	require.Equal(t, 200, serve(h, request("X-Api-Key", "sk_1", "X-Settle", "b=7")).Code)
	for rule, want := range map[string]int{"a": 40, "b": 93, "c": 40, "d": 98} {
		require.Equal(t, want, left(t, m, rule, "sk_1"), rule)
	}
}

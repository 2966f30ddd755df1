package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

func TestErrorHoldsTheNetworkError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		base := scripted(fails(reset))
		req := request(t, "GET", "https://user:secret@api.example/v1?token=hush", nil)

		resp, err := transport(base).RoundTrip(req)

		require.Nil(t, resp)
		require.Equal(t, 3, base.count())
		require.ErrorIs(t, err, syscall.ECONNRESET)
		op, ok := errors.AsType[*net.OpError](err)
		require.True(t, ok)
		require.Same(t, reset, op)
		e, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, retry.ReasonAttemptsExhausted, e.Reason)
		require.Len(t, e.Attempts, 3)
		require.Equal(t, "retry: GET api.example: attempts-exhausted (attempt 3): read tcp: connection reset by peer", err.Error())
	})
}

func TestErrorIsOneLineWithoutSecrets(t *testing.T) {
	t.Parallel()
	const secret = "https://user:secret@api.example/v1?token=hush"
	inner := &url.Error{Op: "Get", URL: secret, Err: errors.New("first\nsecond\u2028third " + secret)}
	req := request(t, "GET", secret, nil)
	tr := transport(scripted(fails(inner)))
	tr.Policy = &retry.Policy{MaxAttempts: 1}

	_, err := tr.RoundTrip(req)
	require.ErrorIs(t, err, inner)
	elsewhere := &url.Error{Op: "Get", URL: "https://login.example/token?client=hush", Err: errBroken}
	tr.Base = scripted(fails(fmt.Errorf("signing: %w", elsewhere)))
	_, signing := tr.RoundTrip(req)

	require.NotContains(t, signing.Error(), "hush")
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "\u2028")
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "hush")
}

func TestErrorHidesUserinfoAndQuery(t *testing.T) {
	t.Parallel()
	const secret = "https://user:hush@login.example:8443/token?client=hush&more=hush#hush"
	at := func(text string, err error) error { return &url.Error{Op: "Get", URL: text, Err: err} }
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"a URL", errors.New(secret), "https://…@login.example:8443/token?…"},
		{"text around it", errors.New("fetch " + secret + " failed"), "fetch https://…@login.example:8443/token?… failed"},
		{"a url.Error", at(secret, errBroken), `Get "https://…@login.example:8443/token?…": ` + errBroken.Error()},
		{"one inside another", at("https://a.example/x", at(secret, errBroken)),
			`Get "https://a.example/x": Get "https://…@login.example:8443/token?…": ` + errBroken.Error()},
		{"one that was wrapped", fmt.Errorf("sign: %w", at(secret, errBroken)),
			`sign: Get "https://…@login.example:8443/token?…": ` + errBroken.Error()},
		{"joined", errors.Join(at(secret, errBroken), at(secret, errBroken)),
			strings.Repeat(`Get "https://…@login.example:8443/token?…": `+errBroken.Error()+" ", 2)},
		{"a URL in a URL's path", errors.New("https://a.example/" + secret), "https://a.example/https://…@login.example:8443/token?…"},
		{"several @", errors.New("https://us@er:hush@a.example/x@y"), "https://…@a.example/x@y"},
		{"no path", errors.New("https://a.example?hush"), "https://a.example?…"},
		{"a fragment", errors.New("https://a.example/#hush, and more?"), "https://a.example/#… and more?"},
		{"no URL", errors.New("what? me@example #1"), "what? me@example #1"},
		{"the request's own query, without its host", errors.New("GET /v1?q=hush failed"), "GET /v1?… failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			logger, out := logged()
			tr := &retry.Transport{Base: scripted(fails(tc.err)), Logger: logger, Policy: once()}

			_, err := tr.RoundTrip(request(t, "GET", target+"?q=hush", nil))

			require.ErrorIs(t, err, tc.err)
			text := strings.TrimPrefix(err.Error(), "retry: GET api.example: attempts-exhausted (attempt 1): ")
			require.Equal(t, strings.TrimSpace(tc.want), text)
			require.NotContains(t, out.String(), "hush")
		})
	}
}

func TestErrorHidesAQueryThatIsNotEscaped(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"a single quote":  "filter=name eq 'hush'",
		"quotes":          `q="hush"`,
		"angle brackets":  "q=<hush>",
		"a backquote":     "q=`hush`",
		"a space":         "q=a hush",
		"a space, quoted": `q=a "hush`,
		"a backslash":     `q=\"hush\"`,
	} {
		for _, raw := range []bool{false, true} {
			base := baseFunc(func(r *http.Request) (*http.Response, error) {
				if raw {
					return nil, errors.New("dial " + r.URL.String() + " failed")
				}
				return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: errBroken}
			})
			logger, out := logged()
			tr := &retry.Transport{Base: base, Logger: logger, Policy: once()}
			r := request(t, http.MethodGet, "http://a.example/x", nil)
			r.URL.RawQuery = query
			_, err := tr.RoundTrip(r)
			require.NotContains(t, err.Error(), "hush", name)
			require.NotContains(t, out.String(), "hush", name)
			require.Contains(t, err.Error(), "http://a.example/x?…", name)
		}
	}
}

func isControl(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

func FuzzErrorText(f *testing.F) {
	f.Add("a://", "b", "\n://?")
	f.Add("http", "://u:", "@h?q")
	f.Fuzz(func(t *testing.T, before, between, after string) {
		const secret = "hushhush"
		u := url.URL{Scheme: "https", User: url.UserPassword(between, secret), Host: "a.example", RawQuery: "q=" + secret}
		tr := transport(scripted(fails(errors.New(before + " " + u.String() + " " + after))))
		tr.Policy = once()

		_, err := tr.RoundTrip(request(t, "GET", target, nil))

		text := err.Error()
		if !strings.Contains(before+between+after, secret) && strings.Contains(text, secret) {
			t.Errorf("%q", text)
		}
		if len(text) > 700 || strings.ContainsFunc(text, isControl) {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	})
}

// A server chooses its request ids and codes, and the client of a proxy the method and host.
func TestTextOfOthersIsOneLineOfLimitedLength(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hostile := "a\u202eb\u009bc\u2028d" + strings.Repeat("x", 100_000)
		logger, out := logged()
		var events []retry.Event
		tr := &retry.Transport{
			Base: scripted(
				status(503, "Request-Id: "+hostile),
				status(503, "X-Request-Id: "+hostile),
				status(200, "Request-Id: "+hostile),
			),
			Logger: logger, Policy: &retry.Policy{BaseDelay: -1},
			Observe: func(_ context.Context, e retry.Event) { events = append(events, e) },
		}
		ctx, report := retry.WithReport(t.Context())
		req := request(t, "GET", target, nil).WithContext(ctx)
		req.Method, req.URL.Host = hostile, "a\u202e.example"
		req.Header.Set("Idempotency-Key", "k")

		resp, err := tr.RoundTrip(req)

		require.NoError(t, err)
		resp.Body.Close()
		check := func(s string) {
			require.LessOrEqual(t, len(s), 510)
			require.False(t, strings.ContainsFunc(s, isControl), "%q", s)
		}
		require.Len(t, report.Attempts(), 3)
		for _, a := range report.Attempts() {
			require.NotEmpty(t, a.RequestID)
			check(a.RequestID)
		}
		require.NotEmpty(t, events)
		for _, e := range events {
			check(e.Method)
			check(e.Host)
			check(e.Attempt.RequestID)
		}
		require.Less(t, len(out.String()), 5000)
		require.NotContains(t, out.String(), "\u202e")
	})
}

func TestErrorOfAnInterruptedRetryHoldsTheEarlierError(t *testing.T) {
	t.Parallel()
	why := errors.New("shutting down")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := transport(scripted(fails(errBroken), func(r *http.Request) (*http.Response, error) {
			cancel(why)
			return nil, r.Context().Err()
		})).RoundTrip(request(t, "GET", target, nil).WithContext(ctx))

		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.ErrorIs(t, err, errBroken)
	})
}

func TestCallCanceledAfterAnAttemptTimeoutIsNoTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(baseFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		tr.Policy = &retry.Policy{AttemptTimeout: time.Second, BaseDelay: 10_000 * time.Hour, MaxDelay: -1}

		_, err := tr.RoundTrip(request(t, "GET", target, nil).WithContext(canceledIn(3 * time.Second)(t.Context())))

		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Equal(t, retry.ReasonCanceled, failed.Reason)
		require.False(t, failed.Timeout())
	})
}

func TestErrorHasTheCodesOfAllAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(
			func(*http.Request) (*http.Response, error) {
				return answer(503, errorBody("service_unavailable"), "Content-Type: application/json"), nil
			},
			status(502, "Content-Type: text/html", "X-Request-Id: x-1"),
			fails(errBroken),
		))

		_, err := tr.RoundTrip(request(t, "GET", target, nil))

		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		require.Len(t, failed.Attempts, 3)
		require.Equal(t, apierror.CodeServiceUnavailable, failed.Attempts[0].Code)
		require.Equal(t, "req_fromthebody", failed.Attempts[0].RequestID)
		require.ErrorIs(t, failed.Attempts[0].Err, apierror.CodeServiceUnavailable)
		require.Empty(t, failed.Attempts[1].Code)
		require.Equal(t, "x-1", failed.Attempts[1].RequestID)
		require.ErrorIs(t, failed.Attempts[1].Err, apierror.TypeAPI)
		require.NotContains(t, failed.Attempts[1].Err.Error(), "body of", "it is not JSON")
	})
}

func TestRetryAfterOfAnErrorCountsFromItsResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := transport(scripted(
			status(503, "Retry-After: "+time.Now().Add(3*time.Second).UTC().Format(http.TimeFormat)),
			fails(errBroken),
		))
		tr.Policy = &retry.Policy{MaxAttempts: 2}

		_, err := tr.RoundTrip(request(t, "GET", target, nil))

		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		said, ok := errors.AsType[*apierror.Error](failed.Attempts[0].Err)
		require.True(t, ok)
		require.Equal(t, 3*time.Second, said.RetryAfter())
	})
}

func TestErrorIsLoggedAsAGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := do(t, transport(scripted(fails(errBroken))), target)
		failed, ok := errors.AsType[*retry.Error](err)
		require.True(t, ok)
		logger, out := logged()

		logger.Info("no resource", "error", failed)

		require.Equal(t, `level=INFO msg="no resource" error.reason=attempts-exhausted error.attempts=3 `+
			`error.error="connection reset by peer"`+"\n", out.String())
	})
}

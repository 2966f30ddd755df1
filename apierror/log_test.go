package apierror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

func TestLogValueIsAGroupOfTheKnownAttributes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key != "err" {
			return slog.Attr{}
		}
		return a
	}}))
	logger.Info("", "err", apierror.ParameterMissing("name").WithCause(io.EOF))
	equal(t, "record", out.String(), "err.code=parameter_missing err.type=invalid_request_error err.status=400 err.message=\"Missing required parameter: name.\" err.param=name err.cause=EOF\n")
}

func TestOnlyServerFaultsAreLogged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		want string
	}{
		{apierror.ParameterMissing("a"), ""},
		{apierror.RateLimitExceeded(0), ""},
		{apierror.CodeAPIError.New().WithCause(errors.New("disk full")), `level=ERROR msg="apierror: request failed" code=api_error type=api_error status=500 request_id=req_Hd92kLpQ7m cause="disk full"` + "\n"},
		{apierror.CodeAPIError, `level=ERROR msg="apierror: request failed" code=api_error type=api_error status=500 request_id=req_Hd92kLpQ7m` + "\n"},
		{apierror.ServiceUnavailable(0).WithCause(errors.New("pool")), `level=WARN msg="apierror: request failed" code=service_unavailable type=api_error status=503 request_id=req_Hd92kLpQ7m cause=pool` + "\n"},
		{apierror.ServiceUnavailable(0), ""}, // overload: a line for each would be another flood
		{apierror.CodeTimeout, ""},
		{apierror.Code("card_declined"), `level=ERROR msg="apierror: request failed" code=card_declined type=api_error status=500 request_id=req_Hd92kLpQ7m cause="apierror: the code \"card_declined\" is not in the Renderer's catalog"` + "\n"},
		{nil, ""},
	} {
		var out bytes.Buffer
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))}
		write(rd, "", row.err)
		equal(t, fmt.Sprint(row.err), out.String(), row.want)
	}
}

func TestLevelFollowsTheStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{400: "", 499: "", 500: "ERROR", 501: "WARN", 599: "WARN"} {
		var log strings.Builder
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		d := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status, Message: "m"}
		write(rd, "", d.New().WithCause(errors.New("why")))
		_, rest, _ := strings.Cut(log.String(), "level=")
		level, _, _ := strings.Cut(rest, " ")
		equal(t, fmt.Sprint("the level of a ", status), level, want)
	}
}

func TestRecordedErrorsAreNotLoggedAgain(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{reqstate.Panic{}, reqstate.Recorded("outage")} {
		var log strings.Builder
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		write(rd, "", apierror.CodeAPIError.New().WithCause(cause))
		equal(t, "the log of "+cause.Error(), log.String(), "")
	}
}

func TestRedactReplacesTheCause(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		redact func(error) string
		want   string
	}{
		"redacted": {func(error) string { return "only this" }, `cause="only this"`},
		"panics":   {func(error) string { panic("hook") }, `cause=(redacted)`},
		"nothing":  {func(error) string { return "" }, `cause=(redacted)`},
	} {
		var out bytes.Buffer
		rd := &apierror.Renderer{Redact: row.redact, Logger: slog.New(slog.NewTextHandler(&out, nil))}
		w := write(rd, "", errors.New("secret-4711"))
		equal(t, name, w.Code, 500)
		if !strings.Contains(out.String(), row.want) || strings.Contains(out.String(), "4711") {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}

func TestLogRecordsShowNoUserinfoOrQueryOfAURL(t *testing.T) {
	t.Parallel()
	const address = "https://user:hush@a.example/x?key=hush#hush"
	inner := &url.Error{Op: "Get", URL: address, Err: io.EOF}
	for name, err := range map[string]error{
		"url.Error":          apierror.ServiceUnavailable(0).WithCause(inner),
		"one inside another": apierror.CodeAPIError.New().WithCause(&url.Error{Op: "Get", URL: address, Err: fmt.Errorf("x: %w", inner)}),
		"returned":           fmt.Errorf("call: %w", inner),
		"joined":             errors.Join(inner, inner),
		"one in an Error":    apierror.CodeAPIError.New().WithCause(apierror.CodeAPIError.New().WithCause(inner)),
	} {
		var log strings.Builder
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		write(rd, "", err)
		if !strings.Contains(log.String(), "a.example/x") || strings.Contains(log.String(), "hush") {
			t.Errorf("%s: %s", name, log.String())
		}
		var e *apierror.Error
		if errors.As(err, &e) && (strings.Contains(e.Error(), "hush") || strings.Contains(e.LogValue().String(), "hush")) {
			t.Errorf("%s: %v, %v", name, e, e.LogValue())
		}

		log.Reset()
		var asked error
		rd.Redact = func(cause error) string { asked = cause; return "own" }
		write(rd, "", err)
		var whole *url.Error
		if !errors.As(asked, &whole) || whole.URL != address || !strings.Contains(log.String(), "cause=own") {
			t.Errorf("%s: the hook was asked about %v: %s", name, asked, log.String())
		}
	}
	var log strings.Builder
	write(&apierror.Renderer{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Map:    func(error) *apierror.Error { panic(inner) },
	}, "", io.EOF)
	if strings.Contains(log.String(), "hush") {
		t.Errorf("a hook's panic: %s", log.String())
	}
}

func TestPanicsOfHooksAreLoggedInABoundedLine(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil)), Map: func(error) *apierror.Error { panic(strings.Repeat("x\u202e", 1<<20)) }}
	write(rd, "", io.EOF)
	if log.Len() > 20_000 || strings.Contains(log.String(), "202e") {
		t.Errorf("%d bytes", log.Len())
	}
}

// unprintable is a value whose String method panics with the value.
type unprintable struct{}

func (u unprintable) String() string { panic(u) }

func TestHooksMayPanicWithUnprintableValues(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil)), Map: func(error) *apierror.Error { panic(unprintable{}) }}
	equal(t, "status", write(rd, "", io.EOF).Code, 500)
	if !strings.Contains(log.String(), "unprintable that panics when it is printed") {
		t.Error(log.String())
	}
}

type goneWriter struct{ *httptest.ResponseRecorder }

func (goneWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestUnsentErrorsAreLoggedAtDebug(t *testing.T) {
	t.Parallel()
	for level, lines := range map[slog.Level]int{slog.LevelInfo: 0, slog.LevelDebug: 2} {
		var out bytes.Buffer
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))}
		h := rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied }))
		h.ServeHTTP(goneWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
		equal(t, level.String(), strings.Count(out.String(), "\n"), lines)
		equal(t, level.String(), strings.Contains(out.String(), "broken pipe"), lines == 2)
	}
}

// A client that leaves a stream is not a failure. The response is aborted, but no one must be
// alerted.
func TestClientsThatLeaveAStreamAreLoggedAtDebug(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	h := rd.Handler(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		io.WriteString(w, "data: 1\n\n")
		cancel()
		return r.Context().Err()
	}))
	defer func() {
		equal(t, "panic", recover(), any(http.ErrAbortHandler))
		equal(t, "level", strings.Contains(out.String(), "level=DEBUG"), true)
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
}

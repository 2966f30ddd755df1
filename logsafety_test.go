package seawall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	fit "github.com/seawall-go/seawall/internal/plain"
)

// untrusted are strings that must not reach a log unchanged.
var untrusted = map[string]string{
	"control characters": "a\x00b\r\nlevel=ERROR msg=forged\x1b[2J\x7f\u0085\u009b31m",
	"format characters":  "a\u202egnp\u2066\u200b\ufeff\u00ad\U000e0041",
	"line separators":    "a\u2028b\u2029c\vd\fe",
	"invalid UTF-8":      "a\xff\xc0\xafb\xed\xa0\x80",
	"100 KB":             strings.Repeat("x", 100<<10),
	"100 KB of all":      strings.Repeat("é\u202e\xff\n\u2028\x1b", 100<<10/12),
	"markup":             `<script>"'\` + "`&",
	"a URL":              "https://user:pass@a.example/?q=\u202e#\n",
	"a number":           strings.Repeat("9", 5<<10),
}

type (
	ownString    string
	ownError     string
	ownStringer  string
	ownText      string
	ownJSON      string
	ownLogValue  struct{ v slog.Value }
	endlessGroup struct{ s string }
)

func (e ownError) Error() string               { return string(e) }
func (s ownStringer) String() string           { return string(s) }
func (t ownText) MarshalText() ([]byte, error) { return []byte(t), nil }
func (j ownJSON) MarshalJSON() ([]byte, error) { return json.Marshal([]string{string(j)}) }
func (l ownLogValue) LogValue() slog.Value     { return l.v }
func (e endlessGroup) LogValue() slog.Value    { return slog.GroupValue(slog.Any(e.s, e)) }

type brokenJSON string

func (j brokenJSON) MarshalJSON() ([]byte, error) { return nil, errors.New(string(j)) }

type panickingValue string

func (p panickingValue) LogValue() slog.Value { panic(string(p)) }

// everyKind returns attributes of each kind that contain s.
func everyKind(r *http.Request, s string) []slog.Attr {
	type inner struct{ S []string }
	number, _ := new(big.Int).SetString(s, 10)
	return []slog.Attr{
		slog.String(s, "a key"),
		slog.String("string", s),
		slog.Any("own_string", ownString(s)),
		slog.Any("bytes", []byte(s)),
		slog.Any("strings", []string{s, s}),
		slog.Any("slice", []any{s, []any{map[string]any{s: []any{nil, true, 1.5, 7, s}}}}),
		slog.Any("map", map[string]string{s: s}),
		slog.Any("header", http.Header{s: {s}}),
		slog.Any("values", url.Values{s: {s}}),
		slog.Any("struct", struct{ In inner }{inner{[]string{s}}}),
		slog.Any("pointer", &inner{[]string{s}}),
		slog.Any("url", &url.URL{Host: s, Path: s, RawQuery: s}),
		slog.Any("error", fmt.Errorf("wrapped: %w", ownError(s))),
		slog.Any("nil_error", (*apierror.Error)(nil)),
		slog.Any("stringer", ownStringer(s)),
		slog.Any("text", ownText(s)),
		slog.Any("json", ownJSON(s)),
		slog.Any("broken_json", brokenJSON(s)),
		slog.Any("raw_json", json.RawMessage(`{"`+s+`":1}`)),
		slog.Any("number", json.Number(s)),
		slog.Any("big_number", number),
		slog.Any("unprintable", panickyError{s}),
		slog.Any("panicky_stringer", panickyStringer{s}),
		slog.Any("func", func() {}),
		slog.Any("answered", seawall.ErrorFrom(r.Context())),
		slog.Any("valuer", ownLogValue{slog.StringValue(s)}),
		slog.Any("valuer_of_a_valuer", ownLogValue{slog.AnyValue(ownLogValue{slog.AnyValue([]string{s})})}),
		slog.Any("panicking_valuer", panickingValue(s)),
		slog.Any("group_valuer", ownLogValue{slog.GroupValue(slog.Any(s, []string{s}))}),
		slog.Group(s, slog.String(s, s), slog.Group("deeper", slog.Any(s, ownLogValue{slog.AnyValue(ownString(s))}))),
		slog.Any("attrs", []slog.Attr{slog.String(s, s)}),
		slog.String("principal", seawall.AuthenticatedAs(r.Context())),
		slog.String("request", r.Method+r.Host+r.URL.Path+r.URL.RawQuery+r.UserAgent()),
	}
}

// witness is a slog.Handler that asserts that all strings it receives are safe for a log.
type witness struct {
	t       *testing.T
	records *[]slog.Record
}

func (witness) Enabled(context.Context, slog.Level) bool { return true }
func (w witness) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w witness) WithGroup(string) slog.Handler          { return w }

func (w witness) Handle(_ context.Context, record slog.Record) error {
	*w.records = append(*w.records, record)
	total := 0
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "stack" {
			require.NotContains(w.t, a.Value.String(), "\x1b")
			return true
		}
		total += w.attr(record.Message, a)
		return true
	})
	require.LessOrEqual(w.t, total, 20<<10, record.Message)
	return nil
}

func (w witness) attr(path string, a slog.Attr) int {
	w.t.Helper()
	n := w.string(path+" key", a.Key)
	path = fmt.Sprintf("%s.%.40q", path, a.Key)
	switch a.Value.Kind() {
	case slog.KindString:
		return n + w.string(path, a.Value.String())
	case slog.KindGroup:
		for _, in := range a.Value.Group() {
			n += w.attr(path, in)
		}
		return n
	case slog.KindAny:
		return n + w.any(path, a.Value.Any())
	case slog.KindLogValuer:
		w.t.Errorf("%s is not resolved", path)
	default:
	}
	return n
}

func (w witness) any(path string, x any) (n int) {
	w.t.Helper()
	switch x := x.(type) {
	case nil, bool, int64:
	case json.Number:
		n = w.string(path, x.String())
	case string:
		n = w.string(path, x)
	case []any:
		for _, in := range x {
			n += w.any(path, in)
		}
	case map[string]any:
		for key, in := range x {
			n += w.string(path+" key", key) + w.any(path, in)
		}
	default:
		w.t.Errorf("%s: a %T reaches the handler", path, x)
	}
	return n
}

func (w witness) string(path, s string) int {
	w.t.Helper()
	most := 1<<10 + len("…")
	if strings.Contains(path, `"panic"`) || strings.Contains(path, `"cause"`) {
		most = 4<<10 + len("…")
	}
	if fit.Text(s, most) != s {
		w.t.Errorf("%s: %.80q, %d bytes", path, s, len(s))
	}
	return len(s)
}

// endings are the ways in which a request that contains s ends.
var endings = []struct {
	name string
	of   func(s string) http.Handler
}{
	{"success", func(string) http.Handler { return ok }},
	{"panic with a string", func(s string) http.Handler { return panicking(s) }},
	{"panic with an error", func(s string) http.Handler { return panicking(ownError(s)) }},
	{"panic with a struct", func(s string) http.Handler { return panicking(struct{ S []string }{[]string{s}}) }},
	{"panic after a part", func(s string) http.Handler {
		return plain(func(w http.ResponseWriter, _ *http.Request) { part(w); panic(s) })
	}},
	{"error", func(s string) http.Handler { return failing(nil, fmt.Errorf("wrapped: %w", ownError(s))) }},
	{"error after a part", func(s string) http.Handler { return failing(part, ownError(s)) }},
	{"error after the complete response", func(s string) http.Handler { return failing(whole, ownError(s)) }},
	{"parameter", func(s string) http.Handler {
		return failing(nil, apierror.ParameterMissing(s).WithField(apierror.Field{Code: apierror.Code(s), Param: s, Message: s}))
	}},
	{"parameter, too late", func(s string) http.Handler {
		return failing(whole, apierror.ParameterMissing(s).WithCause(ownError(s)))
	}},
	{"code of the service", func(s string) http.Handler {
		return failing(nil, apierror.Code(s).Messagef("%s", s).WithCause(ownError(s)))
	}},
	{"code of the service, too late", func(s string) http.Handler { return failing(whole, apierror.Code(s).Messagef("%s", s)) }},
	{"a pattern", func(s string) http.Handler {
		return plain(func(_ http.ResponseWriter, r *http.Request) { seawall.SetPattern(r, s) })
	}},
	{"a mux", func(string) http.Handler { return mux("GET /v1/{thing}", ok) }},
}

// hooks are the hooks of a service that may return s.
var hooks = []struct {
	name string
	set  func(stack *seawall.Stack, s string)
}{
	{"none", func(*seawall.Stack, string) {}},
	{"Attrs of every kind", func(stack *seawall.Stack, s string) {
		stack.AccessLog.Attrs = func(r *http.Request) []slog.Attr { return everyKind(r, s) }
	}},
	{"semantic names", func(stack *seawall.Stack, s string) {
		stack.AccessLog.SemanticNames = true
		stack.AccessLog.Attrs = func(r *http.Request) []slog.Attr { return everyKind(r, s) }
	}},
	{"panic of Attrs", func(stack *seawall.Stack, s string) {
		stack.AccessLog.Attrs = func(*http.Request) []slog.Attr { panic(s) }
	}},
	{"panic of Inbound", func(stack *seawall.Stack, s string) {
		stack.RequestID.Inbound = func(*http.Request) bool { panic(s) }
	}},
	{"Redact", func(stack *seawall.Stack, s string) {
		stack.Renderer = &apierror.Renderer{Redact: func(error) string { return s }}
	}},
	{"panics of the Renderer", func(stack *seawall.Stack, s string) {
		stack.Renderer = &apierror.Renderer{
			Map:    func(error) *apierror.Error { panic(s) },
			Redact: func(error) string { panic(s) },
			DocURL: func(apierror.Code) string { panic(s) },
		}
	}},
}

// logOf serves a request that has s in all its fields, and returns the records.
func logOf(t *testing.T, s string, h http.Handler, set func(*seawall.Stack, string)) (records []slog.Record) {
	t.Helper()
	stack := &seawall.Stack{
		Logger:       slog.New(witness{t, &records}),
		RequestID:    &seawall.RequestIDOptions{Inbound: everyone},
		AccessLog:    &seawall.AccessLogOptions{},
		Authenticate: as(s),
	}
	set(stack, s)
	serveUntrusted(stack.Handler(h), s)
	return records
}

// serveUntrusted serves a request that has s in all its fields.
func serveUntrusted(h http.Handler, s string) {
	defer func() { _ = recover() }() // as net/http does
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Method, r.Host, r.RequestURI, r.RemoteAddr = s, s, s, s
	r.URL = &url.URL{Scheme: s, Host: s, Path: "/" + s, RawQuery: s}
	for _, key := range []string{"X-Request-Id", "User-Agent", "Authorization", "Idempotency-Key", "Accept", "Referer", s} {
		r.Header[key] = []string{s}
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
}

func TestUntrustedStringsAreSafeInLogs(t *testing.T) {
	t.Parallel()
	for kind, s := range untrusted {
		for _, end := range endings {
			t.Run(kind+"/"+end.name, func(t *testing.T) {
				t.Parallel()
				for _, hook := range hooks {
					require.NotEmpty(t, logOf(t, s, end.of(s), hook.set), hook.name)
				}
			})
		}
		t.Run(kind+"/each attribute alone", func(t *testing.T) {
			t.Parallel()
			for i := range everyKind(httptest.NewRequest(http.MethodGet, "/", nil), s) {
				require.NotEmpty(t, logOf(t, s, failing(nil, apierror.ParameterMissing(s)), oneAttrOf(i)))
			}
		})
	}
}

// oneAttrOf adds only attribute i of everyKind to the access log.
func oneAttrOf(i int) func(*seawall.Stack, string) {
	return func(stack *seawall.Stack, s string) {
		stack.AccessLog.Attrs = func(r *http.Request) []slog.Attr {
			attrs := everyKind(r, s)
			return attrs[i%len(attrs):][:1]
		}
	}
}

func FuzzUntrustedStringsAreSafeInLogs(f *testing.F) {
	for _, s := range untrusted {
		f.Add(s[:min(len(s), 2000)], byte(len(s)), byte(len(s)))
	}
	f.Fuzz(func(t *testing.T, s string, end, hook byte) {
		set := oneAttrOf(int(hook))
		if int(hook) < len(hooks) {
			set = hooks[hook].set
		}
		logOf(t, s, endings[int(end)%len(endings)].of(s), set)
	})
}

// A slog.Handler may find the span of a trace in the context.
func TestRecordsHaveTheContextOfTheRequest(t *testing.T) {
	t.Parallel()
	type key struct{}
	outside := func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "span")))
		})
	}
	kept := newKeeper(slog.LevelInfo)
	stack := &seawall.Stack{
		Logger:    slog.New(kept),
		RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { panic("hook") }},
	}
	serveOne(outside(stack.Handler(panicking("bug"))), nil)
	require.Len(t, *kept.records, 3)
	for _, ctx := range *kept.contexts {
		require.Equal(t, "span", ctx.Value(key{}))
		require.Regexp(t, requestIDForm, apierror.RequestIDFrom(ctx), "no id in the context")
	}
}

// A program may call slog.SetDefault after it has built its handlers.
func TestNilLoggersUseTheDefaultLogger(t *testing.T) { //nolint:paralleltest // changes the default logger
	h := seawall.Chain(
		seawall.RequestID(&seawall.RequestIDOptions{Inbound: func(*http.Request) bool { panic("hook") }}),
		seawall.AccessLog(nil),
		seawall.Recover(nil),
	)(panicking("bug"))
	var logs logs
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(logs.logger())

	serveOne(h, nil)

	require.Len(t, logs.access(t), 1)
	require.Equal(t, []string{logPanic, logPanic}, logs.others(t))
}

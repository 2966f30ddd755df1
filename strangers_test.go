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

// strangers are strings that must not reach a log as they are.
var strangers = map[string]string{
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

func (e ownError) Error() string                  { return string(e) }
func (s ownStringer) String() string              { return string(s) }
func (t ownText) MarshalText() ([]byte, error)    { return []byte(t), nil }
func (j ownJSON) MarshalJSON() ([]byte, error)    { return json.Marshal([]string{string(j)}) }
func (l ownLogValue) LogValue() slog.Value        { return l.v }
func (e endlessGroup) LogValue() slog.Value       { return slog.GroupValue(slog.Any(e.s, e)) }
func (j brokenJSON) MarshalJSON() ([]byte, error) { return nil, errors.New(string(j)) }

type brokenJSON string

// everyKind returns attributes of each kind that hold s.
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
		slog.Any("unprintable", shyer{s}),
		slog.Any("shy", shy{s}),
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

type panickingValue string

func (p panickingValue) LogValue() slog.Value { panic(string(p)) }

// witness is a slog.Handler that asserts that all strings which reach it are fit for a log.
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

// endings are how a request ends that a stranger has sent s with.
var endings = []struct {
	name string
	of   func(s string) http.Handler
}{
	{"success", func(string) http.Handler { return ok }},
	{"panic with a string", func(s string) http.Handler { return panicking(s) }},
	{"panic with an error", func(s string) http.Handler { return panicking(ownError(s)) }},
	{"panic with a struct", func(s string) http.Handler { return panicking(struct{ S []string }{[]string{s}}) }},
	{"panic in the middle", func(s string) http.Handler {
		return plain(func(w http.ResponseWriter, _ *http.Request) { part(w); panic(s) })
	}},
	{"error", func(s string) http.Handler { return failing(nil, fmt.Errorf("wrapped: %w", ownError(s))) }},
	{"error in the middle", func(s string) http.Handler { return failing(part, ownError(s)) }},
	{"error at the end", func(s string) http.Handler { return failing(whole, ownError(s)) }},
	{"parameter", func(s string) http.Handler {
		return failing(nil, apierror.ParameterMissing(s).WithField(apierror.Field{Code: apierror.Code(s), Param: s, Message: s}))
	}},
	{"parameter, too late", func(s string) http.Handler {
		return failing(whole, apierror.ParameterMissing(s).WithCause(ownError(s)))
	}},
	{"its own code", func(s string) http.Handler {
		return failing(nil, apierror.Code(s).Messagef("%s", s).WithCause(ownError(s)))
	}},
	{"its own code, too late", func(s string) http.Handler { return failing(whole, apierror.Code(s).Messagef("%s", s)) }},
	{"a pattern", func(s string) http.Handler {
		return plain(func(_ http.ResponseWriter, r *http.Request) { seawall.SetPattern(r, s) })
	}},
	{"a mux", func(string) http.Handler { return mux("GET /v1/{thing}", ok) }},
}

// hooks are a service's, as far as they may say s.
var hooks = []struct {
	name string
	set  func(stack *seawall.Stack, s string)
}{
	{"none", func(*seawall.Stack, string) {}},
	{"Attrs of every kind", func(stack *seawall.Stack, s string) {
		stack.AccessLog.Attrs = func(r *http.Request) []slog.Attr { return everyKind(r, s) }
	}},
	{"panic of Attrs", func(stack *seawall.Stack, s string) {
		stack.AccessLog.Attrs = func(*http.Request) []slog.Attr { panic(s) }
	}},
	{"panic of InboundID", func(stack *seawall.Stack, s string) {
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

// logOf serves a request that has s everywhere, and returns the records.
func logOf(t *testing.T, s string, h http.Handler, set func(*seawall.Stack, string), semantic bool) (records []slog.Record) {
	t.Helper()
	stack := &seawall.Stack{
		Logger:       slog.New(witness{t, &records}),
		RequestID:    &seawall.RequestIDOptions{Inbound: everyone},
		Authenticate: as(s),
		AccessLog:    &seawall.AccessLogOptions{SemanticNames: semantic},
	}
	set(stack, s)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Method, r.Host, r.RequestURI, r.RemoteAddr = s, s, s, s
	r.URL = &url.URL{Scheme: s, Host: s, Path: "/" + s, RawQuery: s}
	for _, key := range []string{"X-Request-Id", "User-Agent", "Authorization", "Idempotency-Key", "Accept", "Referer", s} {
		r.Header[key] = []string{s}
	}
	func() {
		defer func() { _ = recover() }() // net/http does
		stack.Handler(h).ServeHTTP(httptest.NewRecorder(), r)
	}()
	return records
}

func TestStringsOfStrangersAreFitForTheLog(t *testing.T) {
	t.Parallel()
	for kind, s := range strangers {
		for _, end := range endings {
			t.Run(kind+"/"+end.name, func(t *testing.T) {
				t.Parallel()
				for i, hook := range hooks {
					require.NotEmpty(t, logOf(t, s, end.of(s), hook.set, i%2 == 0), hook.name)
				}
			})
		}
		t.Run(kind+"/each attribute alone", func(t *testing.T) {
			t.Parallel()
			for i := range everyKind(httptest.NewRequest(http.MethodGet, "/", nil), s) {
				require.NotEmpty(t, logOf(t, s, failing(nil, apierror.ParameterMissing(s)), oneOf(i), false))
			}
		})
	}
}

// oneOf has the access log have the one attribute of every kind that i says.
func oneOf(i int) func(*seawall.Stack, string) {
	return func(stack *seawall.Stack, s string) {
		stack.AccessLog.Attrs = func(r *http.Request) []slog.Attr {
			attrs := everyKind(r, s)
			return attrs[i%len(attrs):][:1]
		}
	}
}

func FuzzStringsOfStrangersAreFitForTheLog(f *testing.F) {
	for _, s := range strangers {
		f.Add(s[:min(len(s), 2000)], byte(len(s)), byte(len(s)))
	}
	f.Fuzz(func(t *testing.T, s string, end, hook byte) {
		set := oneOf(int(hook))
		if int(hook) < len(hooks) {
			set = hooks[hook].set
		}
		logOf(t, s, endings[int(end)%len(endings)].of(s), set, end%2 == 0)
	})
}

// What is not a stranger's stays as a service would find it with slog alone.
func TestAttrsOfEveryKindAreLogged(t *testing.T) {
	t.Parallel()
	type thing struct {
		ID    int      `json:"id"`
		Names []string `json:"names"`
	}
	group := []any{slog.String("a", "b\n"), slog.Any("in", ownLogValue{slog.GroupValue(slog.Int("n", 1))})}
	shared := slog.Group("group", group...)
	for name, row := range map[string]struct {
		attr slog.Attr
		want any // as JSON
	}{
		"string":            {slog.String("x", "a b"), "a b"},
		"nothing":           {slog.Any("x", nil), nil},
		"bool":              {slog.Any("x", true), true},
		"float":             {slog.Float64("x", 1.5), 1.5},
		"own bool":          {slog.Any("x", struct{ B bool }{true}), map[string]any{"B": true}},
		"strings":           {slog.Any("x", []string{"a", "b\n"}), []any{"a", "b "}},
		"struct":            {slog.Any("x", thing{7, []string{"a"}}), map[string]any{"id": 7., "names": []any{"a"}}},
		"map":               {slog.Any("x", map[string]any{"a\n": 1.5}), map[string]any{"a ": 1.5}},
		"error":             {slog.Any("x", errors.New("a\nb")), "a b"},
		"nil error":         {slog.Any("x", (*json.SyntaxError)(nil)), "<nil>"},
		"stringer":          {slog.Any("x", ownStringer("a\nb")), "a b"},
		"text":              {slog.Any("x", ownText("a\nb")), "a b"},
		"json":              {slog.Any("x", ownJSON("a\nb")), []any{"a b"}},
		"not json":          {slog.Any("x", func() {}), "!ERROR:json: unsupported type: func()"},
		"unprintable":       {slog.Any("x", shyer{}), "(a seawall_test.shyer whose text panics)"},
		"valuer":            {slog.Any("x", ownLogValue{slog.IntValue(3)}), 3.},
		"group":             {slog.Attr{Key: "x", Value: shared.Value}, map[string]any{"a": "b ", "in": map[string]any{"n": 1.}}},
		"an inlined group":  {slog.Attr{Value: slog.GroupValue(slog.String("x", "a"))}, "a"},
		"exactly the bound": {slog.String("x", strings.Repeat("x", 1<<10)), strings.Repeat("x", 1<<10)},
		"over the bound":    {slog.String("x", strings.Repeat("x", 1<<10+1)), strings.Repeat("x", 1<<10) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs logs
			stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: func(*http.Request) []slog.Attr { return []slog.Attr{row.attr} }}}
			serveOne(stack.Handler(ok), nil)
			line := logs.access(t)[0]
			require.Contains(t, line, "x")
			require.Equal(t, row.want, line["x"])
		})
	}
	var logs logs
	numbers := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: func(*http.Request) []slog.Attr {
		return []slog.Attr{slog.Any("x", []any{uint64(1<<64 - 1), int64(-1 << 63), 1e300, json.Number("12345678901234567890123")})}
	}}}
	serveOne(numbers.Handler(ok), nil)
	require.Contains(t, logs.String(), `"x":[18446744073709551615,-9223372036854775808,1e+300,12345678901234567890123]`)
	require.Equal(t, "b\n", shared.Value.Group()[0].Value.String(), "the service's own group was changed")
}

// A line ends somewhere, and says so, whatever it is that has no end.
func TestAttrsThatAreTooMuchAreLeftOut(t *testing.T) {
	t.Parallel()
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("%05d", i)
	}
	keys := make(map[string]bool)
	for _, key := range many {
		keys[key] = true
	}
	var attrs []slog.Attr
	for _, key := range many {
		attrs = append(attrs, slog.Bool(key, true))
	}
	first := slog.Bool("first", true)
	log := func(attrs ...slog.Attr) (line map[string]any, text string) {
		var logs logs
		stack := &seawall.Stack{Logger: logs.logger(), AccessLog: &seawall.AccessLogOptions{Attrs: func(*http.Request) []slog.Attr { return attrs }}}
		serveOne(stack.Handler(ok), nil)
		require.Less(t, len(logs.String()), 32<<10)
		line = logs.access(t)[0]
		require.Equal(t, true, line["first"])
		return line, logs.String()
	}

	line, _ := log(append([]slog.Attr{first}, attrs...)...)
	require.Equal(t, true, line["attrs_cut"])
	require.Contains(t, line, "00500")
	require.NotContains(t, line, "01000")

	line, _ = log(first, slog.Attr{Key: "group", Value: slog.GroupValue(attrs...)}, slog.Bool("last", true))
	require.Equal(t, true, line["group"].(map[string]any)["attrs_cut"])
	require.Equal(t, true, line["attrs_cut"])
	require.NotContains(t, line, "last")

	line, _ = log(first, slog.Any("map", keys))
	require.Equal(t, true, line["map"].(map[string]any)["attrs_cut"])
	require.Contains(t, line["map"], "00500")
	require.NotContains(t, line["map"], "01000")

	line, _ = log(first, slog.Any("slice", many))
	slice := line["slice"].([]any)
	require.Equal(t, "…", slice[len(slice)-1])
	require.Equal(t, "00500", slice[500])
	require.Less(t, len(slice), 1000)

	_, text := log(first, slog.Any("endless", endlessGroup{"endless"}))
	require.Contains(t, text, `"attrs_cut":true`)
}

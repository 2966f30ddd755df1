package plain

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
)

type text string

func (t text) String() string { return string(t) }

func TestAttrsCutsEveryKindOfText(t *testing.T) {
	t.Parallel()
	value := func(a slog.Attr) string { return a.Value.String() }
	for name, row := range map[string]struct {
		most   int
		attr   func(s string) slog.Attr
		result func(slog.Attr) string
	}{
		"key":          {maxKey, func(s string) slog.Attr { return slog.Int(s, 1) }, func(a slog.Attr) string { return a.Key }},
		"string":       {maxString, func(s string) slog.Attr { return slog.String("x", s) }, value},
		"error":        {maxString, func(s string) slog.Attr { return slog.Any("x", errors.New(s)) }, value},
		"stringer":     {maxString, func(s string) slog.Attr { return slog.Any("x", text(s)) }, value},
		"JSON":         {maxString, func(s string) slog.Attr { return slog.Any("x", json.RawMessage(`"`+s+`"`)) }, value},
		"JSON's error": {maxString, func(s string) slog.Attr { return slog.Any("x", broken(s[:len(s)-len(brokenText)])) }, value},
		"number":       {maxKey, func(s string) slog.Attr { return slog.Any("x", json.Number(s)) }, value},
		"key of a map": {maxKey, func(s string) slog.Attr { return slog.Any("x", map[string]int{s: 1}) }, func(a slog.Attr) string {
			for key := range a.Value.Any().(map[string]any) {
				return key
			}
			return ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exactly := row.result(Attrs([]slog.Attr{row.attr(strings.Repeat("1", row.most))})[0])
			if len(exactly) != row.most || strings.HasSuffix(exactly, "…") {
				t.Errorf("%d bytes became %d: %.20q…%q", row.most, len(exactly), exactly, exactly[max(0, len(exactly)-10):])
			}
			over := row.result(Attrs([]slog.Attr{row.attr(strings.Repeat("1", row.most+1))})[0])
			if len(over) != row.most+len("…") || !strings.HasSuffix(over, "…") {
				t.Errorf("%d bytes became %d: %.20q", row.most+1, len(over), over)
			}
		})
	}
}

type broken string

// brokenText is the text that encoding/json puts before that of the error.
const brokenText = "!ERROR:json: error calling MarshalJSON for type plain.broken: "

func (b broken) MarshalJSON() ([]byte, error) { return nil, errors.New(string(b)) }

func TestAttrsLeavesOutTheRest(t *testing.T) {
	t.Parallel()
	withText := make([]slog.Attr, 513) // 32 bytes each
	for i := range withText {
		withText[i] = slog.String("12345678", "12345678")
	}
	without := make([]slog.Attr, 1025) // 16 bytes each
	for i := range without {
		without[i] = slog.Int("", i)
	}
	oneByteTooLong := append(slices.Clone(withText[:511]), slog.Int("x", 1), slog.Int("", 1)) // there are 15 bytes left for the last one
	for name, attrs := range map[string][]slog.Attr{"with text": withText, "without": without, "one byte too long": oneByteTooLong} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last := len(attrs) - 1
			if got := Attrs(slices.Clone(attrs[:last])); len(got) != last || got[last-1].Key == attrsCut {
				t.Errorf("%d became %d, the last is %v", last, len(got), got[len(got)-1])
			}
			if got := Attrs(slices.Clone(attrs)); len(got) != last+1 || got[last].Key != attrsCut || got[last-1].Key == attrsCut {
				t.Errorf("%d became %d, the last is %v", last+1, len(got), got[len(got)-1])
			}
		})
	}
}

func TestAttrsKinds(t *testing.T) {
	t.Parallel()
	var deep any
	for range 10_001 {
		deep = []any{deep}
	}
	for name, row := range map[string]struct {
		in   any
		kind slog.Kind
		want string
	}{
		"stringer":                     {&url.URL{Scheme: "https", Host: "a.example", Path: "/\u202ex"}, slog.KindString, "https://a.example/%E2%80%AEx"},
		"integer with a String method": {slog.LevelInfo + 2, slog.KindString, "INFO+2"},
		"number":                       {json.Number("17"), slog.KindInt64, "17"},
		"too deep":                     {deep, slog.KindString, "!ERROR:invalid character '[' exceeded max depth"},
		"invalid number":               {json.Number("x"), slog.KindString, `!ERROR:json: invalid number literal "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Attrs([]slog.Attr{slog.Any("x", row.in)})[0].Value
			if got.Kind() != row.kind || got.String() != row.want {
				t.Errorf("%v %.80q", got.Kind(), got)
			}
		})
	}
}

package ratelimit_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sfItem is an Item of RFC 9651: a string, token, []byte, int64 or bool, and its Parameters.
type sfItem struct {
	value  any
	params map[string]any
}

type token string

var errStructured = errors.New("no structured field")

// parseList parses a List without Inner Lists (RFC 9651, section 4.2.1).
func parseList(lines []string) (list []sfItem, err error) {
	in := strings.Trim(strings.Join(lines, ", "), " ")
	for in != "" {
		var item sfItem
		if item, in, err = parseItem(in); err != nil {
			return nil, err
		}
		list = append(list, item)
		in = strings.TrimLeft(in, " \t")
		if in == "" {
			return list, nil
		}
		if in[0] != ',' {
			return nil, fmt.Errorf("%w: no comma: %s", errStructured, in)
		}
		if in = strings.TrimLeft(in[1:], " \t"); in == "" {
			return nil, fmt.Errorf("%w: a comma at the end", errStructured)
		}
	}
	return list, nil
}

func parseItem(in string) (item sfItem, rest string, err error) {
	item.params = make(map[string]any)
	if item.value, in, err = parseBare(in); err != nil {
		return item, "", err
	}
	for strings.HasPrefix(in, ";") {
		in = strings.TrimLeft(in[1:], " ")
		n := strings.IndexFunc(in, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_-.*", r) })
		if n < 0 {
			n = len(in)
		}
		key := in[:n]
		if key == "" || strings.ContainsAny(key[:1], "0123456789_-.") {
			return item, "", fmt.Errorf("%w: no key: %s", errStructured, in)
		}
		var value any = true
		in = in[n:]
		if strings.HasPrefix(in, "=") {
			if value, in, err = parseBare(in[1:]); err != nil {
				return item, "", err
			}
		}
		item.params[key] = value
	}
	return item, in, nil
}

func parseBare(in string) (value any, rest string, err error) {
	refuse := func() (any, string, error) { return nil, "", fmt.Errorf("%w: %s", errStructured, in) }
	if in == "" {
		return refuse()
	}
	alphabet := func(set string) int {
		n := strings.IndexFunc(in, func(r rune) bool { return !strings.ContainsRune(set, r) })
		if n < 0 {
			return len(in)
		}
		return n
	}
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	switch c := in[:1]; {
	case c == `"`:
		var b strings.Builder
		for i := 1; i < len(in); i++ {
			switch {
			case in[i] == '"':
				return b.String(), in[i+1:], nil
			case in[i] == '\\':
				if i++; i == len(in) || in[i] != '"' && in[i] != '\\' {
					return refuse()
				}
			case in[i] < ' ' || in[i] > '~':
				return refuse()
			}
			b.WriteByte(in[i])
		}
		return refuse()
	case c == "-", strings.Contains(digits, c):
		n := alphabet("-" + digits)
		value, err := strconv.ParseInt(in[:n], 10, 64)
		if err != nil || len(strings.TrimPrefix(in[:n], "-")) > 15 || strings.HasPrefix(in[n:], ".") {
			return refuse() // an Integer has 15 digits at most; the fields have no Decimals
		}
		return value, in[n:], nil
	case c == "*", strings.Contains(letters, c):
		n := alphabet(letters + digits + "!#$%&'*+-.^_`|~:/")
		return token(in[:n]), in[n:], nil
	case c == ":":
		text, rest, ok := strings.Cut(in[1:], ":")
		value, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			return refuse()
		}
		return value, rest, nil
	case strings.HasPrefix(in, "?0"), strings.HasPrefix(in, "?1"):
		return in[1] == '1', in[2:], nil
	}
	return refuse()
}

func TestParseList(t *testing.T) {
	t.Parallel()
	list, err := parseList([]string{`"a\"\\b";q=100;qu="content-bytes";w=10;pk=:cHsdsRa894==: ,	tok;x;y=?0`, `-999999999999999`})
	require.NoError(t, err)
	require.Equal(t, []sfItem{
		{`a"\b`, map[string]any{"q": int64(100), "qu": "content-bytes", "w": int64(10), "pk": []byte("p{\x1d\xb1\x16\xbc\xf7")}},
		{token("tok"), map[string]any{"x": true, "y": false}},
		{int64(-999999999999999), map[string]any{}},
	}, list)
	for _, bad := range []string{
		`"a`, `"a\`, `"a\b"`, "\"\x7f\"", "\"\n\"", `"ä"`, `"a",`, `"a" "b"`, `"a";`, `"a";Q=1`, `"a";q=`, `"a";q=1.5`, `"a";q=1000000000000000`,
		`;q=1`, `,"a"`, `:x`, `:x:`, `?2`, `"a";q =1`, `"a" ;q=1`,
	} {
		_, err := parseList([]string{bad})
		require.ErrorIs(t, err, errStructured, bad)
	}
}

// readField returns the names and the parameters in a RateLimit field. Anything else than
// the draft allows fails the test.
func readField(t *testing.T, h http.Header, field string, required ...string) (names []string, params []map[string]any) {
	t.Helper()
	list, err := parseList(h.Values(field))
	require.NoError(t, err, field)
	for _, item := range list {
		require.IsType(t, "", item.value, "a String identifies the policy")
		names, params = append(names, item.value.(string)), append(params, item.params)
		require.Len(t, item.params, len(required), h.Values(field))
		for _, key := range required {
			require.IsType(t, int64(0), item.params[key], "%s of %v", key, h.Values(field))
			require.GreaterOrEqual(t, item.params[key], map[string]int64{"q": 1, "w": 1, "r": 0, "t": 1}[key], h.Values(field))
		}
	}
	return names, params
}

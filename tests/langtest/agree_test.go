package langtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	payments "github.com/seawall-go/seawall/apierror/reference/testdata/golden/builtin"
)

// seen is an error as each language sees it.
type seen struct {
	Class      string            `json:"class"`
	Type       string            `json:"type"`
	Code       string            `json:"code"`
	Message    string            `json:"message"`
	Param      string            `json:"param"`
	Status     int               `json:"status"`
	RequestID  string            `json:"request_id"`
	RetryAfter float64           `json:"retry_after"` // seconds
	Retryable  bool              `json:"retryable"`
	DocURL     string            `json:"doc_url"`
	Errors     []field           `json:"errors"`
	Metadata   map[string]string `json:"metadata"`
	Text       string            `json:"text"`  // one line for a log
	Known      *bool             `json:"known"` // what isKnownError reports; nil in other languages
}

type field struct{ Code, Param, Message string }

// classes are the classes of the types. An unknown type has the base class.
var classes = map[string]string{
	"invalid_request_error": "InvalidRequestError",
	"authentication_error":  "AuthenticationError",
	"permission_error":      "PermissionDeniedError",
	"idempotency_error":     "IdempotencyError",
	"rate_limit_error":      "RateLimitError",
	"api_error":             "APIError",
}

func classOf(typ string) string {
	if class, ok := classes[typ]; ok {
		return class
	}
	return "ResponseError"
}

func response(v vector) *http.Response {
	h := http.Header{}
	for _, line := range v.Header {
		h.Add(line[0], line[1])
	}
	return &http.Response{StatusCode: v.Status, Header: h, Body: io.NopCloser(bytes.NewReader(v.Body))}
}

// wanted returns what apierror.Parse sees. It is nil for a success.
func wanted(t *testing.T, v vector) *seen {
	t.Helper()
	err := apierror.Parse(response(v))
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*apierror.Error](err)
	require.True(t, ok)
	s := &seen{
		Class: classOf(string(e.Type())), Type: string(e.Type()), Code: string(e.Code()), Message: e.Message(), Param: e.Param(), Status: e.Status(),
		RequestID: e.RequestID(), RetryAfter: e.RetryAfter().Seconds(), Retryable: e.Retryable(), DocURL: e.DocURL(),
		Errors: []field{}, Metadata: map[string]string{}, Text: e.Error(),
	}
	for _, f := range e.Fields() {
		s.Errors = append(s.Errors, field{string(f.Code), f.Param, f.Message})
	}
	maps.Copy(s.Metadata, e.Metadata())
	answered := "The server answered " + http.StatusText(v.Status)
	if http.StatusText(v.Status) == "" {
		answered = "The server answered with an unknown status"
	}
	number := fmt.Sprintf("The server answered with status %d", v.Status)
	s.Message = strings.Replace(s.Message, answered, number, 1)
	s.Text = strings.Replace(s.Text, answered, number, 1)
	return s
}

// inGo returns what the generated Go file sees.
func inGo(t *testing.T, v vector) *seen {
	t.Helper()
	err := payments.Parse(response(v))
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*payments.ResponseError](err)
	require.True(t, ok)
	s := &seen{
		Class: strings.TrimPrefix(fmt.Sprintf("%T", err), "*payments."), Type: e.Type, Code: string(e.Code), Message: e.Message, Param: e.Param, Status: e.Status,
		RequestID: e.RequestID, RetryAfter: e.RetryAfter.Seconds(), Retryable: e.Retryable, DocURL: e.DocURL,
		Errors: []field{}, Metadata: e.Metadata, Text: err.Error(),
	}
	for _, f := range e.Errors {
		s.Errors = append(s.Errors, field{string(f.Code), f.Param, f.Message})
	}
	return s
}

// agree asserts that a language sees what apierror.Parse sees.
func agree(t *testing.T, v vector, want, got *seen) {
	t.Helper()
	if want == nil || got == nil {
		require.Equal(t, want, got, v.Name)
		return
	}
	slack := 0.0005
	if want.RetryAfter > 1e9 { // the longest time.Duration
		slack = 1
	}
	if v.date { // the languages have read it later
		slack = 3600
	}
	require.InDelta(t, want.RetryAfter, got.RetryAfter, slack, v.Name)
	w, g := *want, *got
	w.RetryAfter, g.RetryAfter = 0, 0
	if g.Known != nil {
		d, found := apierror.DefaultCatalog().Lookup(apierror.Code(w.Code))
		known := found && w.Type == string(d.Type)
		w.Known = &known
	}
	require.Equal(t, w, g, v.Name)
}

func TestParsersAgreeWithParse(t *testing.T) {
	t.Parallel()
	list := append(vectors(), randomVectors(1000)...)
	require.Greater(t, len(list), 1150)
	folder, _ := write(t)
	compileTypeScript(t, folder)
	file := filepath.Join(folder, "vectors.json")
	content, err := json.Marshal(list)
	require.NoError(t, err)
	put(t, file, content)

	for language, read := range map[string]func(t *testing.T) [][]*seen{
		"TypeScript": func(t *testing.T) [][]*seen {
			return decoded(t, run(t, folder, "node", absolute(t, "testdata/read.mjs"), filepath.Join(folder, "builtin/errors.js"), file))
		},
		"Python": func(t *testing.T) [][]*seen {
			return decoded(t, run(t, folder, "python3", "-W", "error", "-X", "dev", absolute(t, "testdata/read.py"), filepath.Join(folder, "builtin"), file))
		},
		"Go": func(t *testing.T) (results [][]*seen) {
			for _, v := range list {
				results = append(results, []*seen{inGo(t, v)})
			}
			return results
		},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			results := read(t)
			require.Len(t, results, len(list))
			for i, v := range list {
				for _, got := range results[i] {
					agree(t, v, wanted(t, v), got)
				}
			}
		})
	}
}

func decoded(t *testing.T, output []byte) (results [][]*seen) {
	t.Helper()
	require.NoError(t, json.Unmarshal(output, &results))
	return results
}

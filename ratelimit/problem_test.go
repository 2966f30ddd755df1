package ratelimit_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/ratelimit"
)

const (
	quotaExceeded   = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	reducedCapacity = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
)

// details are the problem details of a response.
type details struct {
	Type      string    `json:"type"`
	Title     string    `json:"title"`
	Status    int       `json:"status"`
	Detail    string    `json:"detail"`
	Code      string    `json:"code"`
	RequestID string    `json:"request_id"`
	Violated  *[]string `json:"violated-policies"`

	body string
}

// answered sends requests that prefer problem details until one is denied.
func answered(t *testing.T, h http.Handler, key string) (details, http.Header) {
	t.Helper()
	rd := &apierror.Renderer{Problem: true, Logger: slog.New(slog.DiscardHandler)}
	h = rd.Handler(h)
	for range 10 {
		r := request("X-Api-Key", key, "Accept", "application/problem+json")
		w := serve(h, r)
		if w.Code == http.StatusOK {
			continue
		}
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		d := details{body: w.Body.String()}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d))
		require.Equal(t, w.Code, d.Status)
		require.Equal(t, w.Header().Get("Request-Id"), d.RequestID)
		require.NotEmpty(t, d.Detail)

		parsed := apierror.Parse(w.Result())
		require.ErrorIs(t, parsed, apierror.Code(d.Code), "clients parse it as any other error")
		return d, w.Header()
	}
	t.Fatal("never denied")
	panic("unreachable")
}

func TestProblemDetailsNameTheViolatedRules(t *testing.T) {
	t.Parallel()
	few, many := ratelimit.PerHour(1), ratelimit.PerHour(100)
	costly := byKey("costly", few)
	costly.Cost = func(*http.Request) int { return 2 }
	for name, row := range map[string]struct {
		rules    []ratelimit.Rule
		violated []string
	}{
		"one rule":              {[]ratelimit.Rule{byKey("", few)}, []string{"default"}},
		"an escaped name":       {[]ratelimit.Rule{byKey(`a"b\c<`, few)}, []string{`a"b\c<`}},
		"one of two, the first": {[]ratelimit.Rule{byKey("a", few), byKey("b", many)}, []string{"a"}},
		"one of two, the last":  {[]ratelimit.Rule{byKey("a", many), byKey("b", few)}, []string{"b"}},
		"two of three":          {[]ratelimit.Rule{byKey("z", few), byKey("m", many), byKey("a", few)}, []string{"z", "a"}},
		"cost over the burst":   {[]ratelimit.Rule{byKey("m", many), costly}, []string{"costly"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := ratelimit.New(ratelimit.NewMemory(nil), nil, row.rules...)(ok)
			var ids []string
			for _, key := range []string{"sk_1", "sk_1", "sk_2"} {
				d, header := answered(t, h, key)
				require.Equal(t, quotaExceeded, d.Type)
				require.Equal(t, "Quota Exceeded", d.Title)
				require.Equal(t, "rate_limit_exceeded", d.Code)
				require.Equal(t, http.StatusTooManyRequests, d.Status)
				require.Equal(t, &row.violated, d.Violated)
				require.NotContains(t, ids, d.RequestID, "requests share an answer")
				ids = append(ids, d.RequestID)
				policies, _ := readField(t, header, "RateLimit-Policy", "q", "w")
				require.Subset(t, policies, *d.Violated, "as in the field")
			}
		})
	}
}

func TestProblemDetailsNameNoRuleWithoutFields(t *testing.T) {
	t.Parallel()
	rule := byKey("guesses", ratelimit.PerHour(1))
	o := &ratelimit.Options{NoFields: func(*http.Request) bool { return true }}
	d, header := answered(t, ratelimit.New(ratelimit.NewMemory(nil), o, rule)(ok), "sk_1")
	require.Equal(t, quotaExceeded, d.Type)
	require.Nil(t, d.Violated)
	require.NotContains(t, d.body, "violated")
	require.Empty(t, header.Values("RateLimit-Policy"))

	o.NoFields = func(*http.Request) bool { return false }
	d, _ = answered(t, ratelimit.New(ratelimit.NewMemory(nil), o, rule)(ok), "sk_1")
	require.Equal(t, &[]string{"guesses"}, d.Violated)
}

func TestProblemDetailsOfSlots(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		limit            func(http.Handler) http.Handler
		code, typ, title string
		violated         *[]string
		status           int
	}{
		{ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, nil), "rate_limit_exceeded", quotaExceeded, "Quota Exceeded", &[]string{"concurrent"}, 429},
		{
			ratelimit.MaxConcurrent(1, ratelimit.ByAPIKey, &ratelimit.ConcurrentOptions{Rule: "uploads"}),
			"rate_limit_exceeded", quotaExceeded, "Quota Exceeded", &[]string{"uploads"}, 429,
		},
		{ratelimit.Shed(1, nil, nil), "service_unavailable", reducedCapacity, "Temporary Reduced Capacity", nil, 503},
	} {
		var d details
		var h http.Handler
		h = row.limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { d, _ = answered(t, h, "sk_1") }))
		serve(h, request("X-Api-Key", "sk_1"))
		require.Equal(t, row.status, d.Status)
		require.Equal(t, row.code, d.Code)
		require.Equal(t, row.typ, d.Type)
		require.Equal(t, row.title, d.Title)
		require.Equal(t, row.violated, d.Violated)
		require.Equal(t, row.violated != nil, strings.Contains(d.body, "violated"))
	}
}

func TestErrorObjectHasNoProblemMembers(t *testing.T) {
	t.Parallel()
	rd := &apierror.Renderer{Problem: true}
	h := rd.Handler(ratelimit.New(ratelimit.NewMemory(nil), nil, byKey("", ratelimit.PerHour(1)))(ok))
	get(h, "sk_1")
	w := get(h, "sk_1")
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"error":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"Too many requests: the rate limit was hit.",`+
		`"request_id":"`+w.Header().Get("Request-Id")+`"}}`, string(body))
}

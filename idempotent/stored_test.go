package idempotent_test

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// What a store holds outlives the release that wrote it, and processes of several releases share
// it during a roll-out: these values never change.
func TestStoredFormsNeverChange(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 100)
	for _, tt := range []struct{ name, got, want string }{
		{"id", idOf("payments", "customer", "k").String(), "288c46818b30d37b871c74be8819e383028c2df4d0a00909b1a07979fe970f9b"},
		{"id without a namespace and a principal", idOf("", idempotent.GlobalPrincipal, "k").String(), "de827b0a60b8cc4ac159eb6368ef219084286a5a54d2b5ead4a775af05626b37"},
		{"long id", idOf(long, long, long).String(), "2a1750c648696aaf171da1baf734a66f77c083b096ce5f8fedff65e6beee9143"},
		{"print", printOf(t, idempotent.FingerprintBody, "POST", "/v1/a%20b?c=d", "Application/JSON; charset=utf-8", `{"a":1}`).String(), "f0caf53d83c3e7566cefe5138c2dc718f71ed9f9e917472a96498f6d9f6107e4"},
		{"print of nothing", printOf(t, idempotent.FingerprintBody, "DELETE", "/", "", "").String(), "693268f8fd6c2f12e3bdcbc12480f62f91ee09ef3244fd2ac68511b29cd4cf47"},
		{"long print", printOf(t, idempotent.FingerprintBody, "POST", "/"+long+"?"+long, "text/plain", long).String(), "6d06f617b951d3affbe550d8b63dd0a1fdd5a83df4c7110fe05bcceab7e39765"},
		{"print of JSON", printOf(t, idempotent.FingerprintJSON, "POST", "/", "application/json", `{"b":[1,{"c":"`+long+`"}],"a":null}`).String(), "a5cb6b11fe34ea1922bfbcd89bab3082ce3a64d8b4446fb30ee935a22bf690ea"},
		{"response", hex.EncodeToString(idempotent.Response{
			Status: 201, Header: http.Header{"Link": {"<a>", "<b>"}}, Body: []byte("body"), RequestID: "req_1",
		}.Encode()), "0100000018c901057265715f310273044c696e6b02033c613e033c623e626f647940e0eb6d"},
	} {
		require.Equal(t, tt.want, tt.got, tt.name)
	}
}

func TestStoredFormsOfARequestNeverChange(t *testing.T) {
	t.Parallel()
	var event idempotent.Event
	var derived string
	mw := idempotent.New(memory(), func(*http.Request) (string, error) { return "customer", nil }, &idempotent.Options{
		Namespace: "payments",
		Observe:   func(_ context.Context, e idempotent.Event) { event = e },
	})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { derived = idempotent.DerivedKey(r.Context(), "charge") }))
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Idempotency-Key", "k")

	mw.ServeHTTP(httptest.NewRecorder(), r)

	require.Equal(t, idOf("payments", "customer", "k"), event.ID)
	require.Equal(t, "e4ae667a33ba2b38cd6ef0efcb7acc9efdb4fe2125db580f9b599733acf5b91d", event.Scope.String())
	require.Equal(t, "dlFd9Wda-g-vvTaN-y2veP4pTRqNM8Oh", derived)
}

func printOf(t *testing.T, f idempotent.FingerprintFunc, method, url, contentType, body string) idempotent.Fingerprint {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	p, err := f(r, func() ([]byte, error) { return []byte(body), nil })
	require.NoError(t, err)
	return p
}

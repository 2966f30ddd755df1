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

// What a store holds outlives the release that wrote it, and processes of several releases share it during a roll-out: these
// values never change.
func TestStoredFormsNeverChange(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 100)
	for _, tt := range []struct{ name, got, want string }{
		{"id", idempotent.NewID("payments", "customer", "k").String(), "288c46818b30d37b871c74be8819e383028c2df4d0a00909b1a07979fe970f9b"},
		{"id without a namespace and a principal", idempotent.NewID("", "", "k").String(), "fe340892dda57c4d266d0d8dbf14aedfcdc0577c75483e5863551f61700b932e"},
		{"long id", idempotent.NewID(long, long, long).String(), "2a1750c648696aaf171da1baf734a66f77c083b096ce5f8fedff65e6beee9143"},
		{"print", printOf(t, idempotent.FingerprintBody, "POST", "/v1/a%20b?c=d", "Application/JSON; charset=utf-8", `{"a":1}`).String(), "a636ff657ce3840937a0918bb8ae21506a509c0449f8448487eb3470ec725804"},
		{"print of nothing", printOf(t, idempotent.FingerprintBody, "DELETE", "/", "", "").String(), "af7146eda2b7d034c18860f6d969f9e7d4641556470c5c7e3d37ddaef38b3842"},
		{"long print", printOf(t, idempotent.FingerprintBody, "POST", "/"+long+"?"+long, "text/plain", long).String(), "4cd57e7e92f63bd6fd8bcc8b66c688448a44a987d40ac70f24745d1ba6f17ffe"},
		{"print of JSON", printOf(t, idempotent.FingerprintJSON, "POST", "/", "application/json", `{"b":[1,{"c":"`+long+`"}],"a":null}`).String(), "5b35e7d25556a85916127ac3d621349caf27ba7625cce1da6c1130dd0ae834aa"},
		{"response", hex.EncodeToString(idempotent.Response{
			Status: 201, Header: http.Header{"Link": {"<a>", "<b>"}}, Body: []byte("body"), RequestID: "req_1",
		}.Encode()), "010000001bc901057265715f3102044c696e6b033c613e044c696e6b033c623e626f6479e85d4d7d"},
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

	require.Equal(t, idempotent.NewID("payments", "customer", "k"), event.ID)
	require.Equal(t, "e4ae667a33ba2b38cd6ef0efcb7acc9efdb4fe2125db580f9b599733acf5b91d", event.Scope.String())
	require.Equal(t, "dlFd9Wda-g-vvTaN-y2veP4pTRqNM8Oh", derived)
}

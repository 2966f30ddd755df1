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

// Stores keep these values longer than a release, and processes of several releases share a store
// during a rollout. With another ID every key would be new, and with another fingerprint every
// retry would conflict.
func TestStoredValuesNeverChange(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 100)
	fingerprintOf := func(f idempotent.FingerprintFunc, method, url, contentType, body string) string {
		r := httptest.NewRequest(method, url, nil)
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		fp, err := f(r, func() ([]byte, error) { return []byte(body), nil })
		require.NoError(t, err)
		return fp.String()
	}
	secret := &idempotent.Options{Namespace: "n", Secret: []byte("s")}
	for name, test := range map[string]struct{ got, want string }{
		"ID": {
			idOf("payments", "customer", "k").String(),
			"288c46818b30d37b871c74be8819e383028c2df4d0a00909b1a07979fe970f9b",
		},
		"ID of the global principal": {
			idOf("", idempotent.GlobalPrincipal, "k").String(),
			"de827b0a60b8cc4ac159eb6368ef219084286a5a54d2b5ead4a775af05626b37",
		},
		"ID of long strings": {
			idOf(long, long, long).String(),
			"2a1750c648696aaf171da1baf734a66f77c083b096ce5f8fedff65e6beee9143",
		},
		"ID with a secret": {
			secret.ID("p", "k").String(),
			"73f23b394b8331879d31faf89636a59d18201604f3724a4ee5124ace5694e5be",
		},
		"FingerprintBody": {
			fingerprintOf(idempotent.FingerprintBody, "POST", "/v1/a%20b?c=d", "Application/JSON; charset=utf-8", `{"a":1}`),
			"f0caf53d83c3e7566cefe5138c2dc718f71ed9f9e917472a96498f6d9f6107e4",
		},
		"FingerprintBody of nothing": {
			fingerprintOf(idempotent.FingerprintBody, "DELETE", "/", "", ""),
			"693268f8fd6c2f12e3bdcbc12480f62f91ee09ef3244fd2ac68511b29cd4cf47",
		},
		"FingerprintBody of long strings": {
			fingerprintOf(idempotent.FingerprintBody, "POST", "/"+long+"?"+long, "text/plain", long),
			"6d06f617b951d3affbe550d8b63dd0a1fdd5a83df4c7110fe05bcceab7e39765",
		},
		"FingerprintJSON": {
			fingerprintOf(idempotent.FingerprintJSON, "POST", "/", "application/json", `{"a":[1,{"b":"c"}]}`),
			"598ed4d43bfacfd0712bc8abf5698a75e85e14bde1f13b9a8f2db8bb662ad3c8",
		},
		"FingerprintJSON of a long string": {
			fingerprintOf(idempotent.FingerprintJSON, "POST", "/", "application/json", `{"b":[1,{"c":"`+long+`"}],"a":null}`),
			"a5cb6b11fe34ea1922bfbcd89bab3082ce3a64d8b4446fb30ee935a22bf690ea",
		},
		"FingerprintForm": {
			fingerprintOf(idempotent.FingerprintForm, "POST", "/", urlencoded, "a=1&b=2"),
			"49cdf5dff6d1a9f19feba27ade9bb00a7fbfe43ad4d9f50ef47b1bbf49864877",
		},
		"FingerprintForm of a multipart form": {
			fingerprintOf(idempotent.FingerprintForm, "POST", "/", "multipart/form-data; boundary=b",
				"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"),
			"324577efe7056f533c18a92f8dd4de60b30a5c19659accb60a5e7c66a4e19e17",
		},
		"Response": {
			hex.EncodeToString(encode(idempotent.Response{
				Status: 201, Header: http.Header{"Link": {"<a>", "<b>"}}, Body: []byte("body"), RequestID: "req_1",
			})),
			"0100000018c901057265715f310273044c696e6b02033c613e033c623e626f647940e0eb6d",
		},
	} {
		require.Equal(t, test.want, test.got, name)
	}
}

func TestStoredValuesOfARequestNeverChange(t *testing.T) {
	t.Parallel()
	var event idempotent.Event
	var derived string
	mw := idempotent.New(memory(), func(*http.Request) (string, error) { return "customer", nil }, &idempotent.Options{
		Namespace: "payments",
		Observe:   func(_ context.Context, e idempotent.Event) { event = e },
	})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { derived = idempotent.DerivedKey(r.Context(), "charge") }))

	call(mw, "k", "")

	require.Equal(t, idOf("payments", "customer", "k"), event.ID)
	require.Equal(t, "e4ae667a33ba2b38cd6ef0efcb7acc9efdb4fe2125db580f9b599733acf5b91d", event.Scope.String())
	require.Equal(t, "dlFd9Wda-g-vvTaN-y2veP4pTRqNM8Oh", derived)
}

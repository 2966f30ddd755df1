package credential_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seawall-go/seawall/internal/credential"
)

func TestAPIKey(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header   http.Header
		key      string
		conflict bool
	}{
		"none":      {nil, "", false},
		"one":       {http.Header{"X-Api-Key": {"sk_1"}}, "sk_1", false},
		"the same":  {http.Header{"X-Api-Key": {"sk_1"}, "Authorization": {"Bearer sk_1"}}, "sk_1", false},
		"different": {http.Header{"X-Api-Key": {"sk_1"}, "Authorization": {"Bearer sk_2"}}, "", true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = row.header
		if key, conflict := credential.APIKey(r); key != row.key || conflict != row.conflict {
			t.Errorf("%s: %q, %v", name, key, conflict)
		}
	}
}

package seawall_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
)

func TestAPIKey(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		authorization, key []string
		want               string
	}{
		"none":                                 {nil, nil, ""},
		"Bearer":                               {[]string{"Bearer sk_1"}, nil, "sk_1"},
		"bearer in mixed case":                 {[]string{"bEaReR sk_1"}, nil, "sk_1"},
		"spaces":                               {[]string{"  Bearer   sk_1 "}, nil, "sk_1"},
		"Basic":                                {[]string{"Basic c2tfMTpwYXNz"}, nil, "sk_1"},
		"Basic without a password":             {[]string{"basic c2tfMTo="}, nil, "sk_1"},
		"Basic without a user":                 {[]string{"Basic OnBhc3M="}, nil, ""},
		"Basic that is not base64":             {[]string{"Basic !"}, nil, ""},
		"X-Api-Key":                            {nil, []string{"sk_1"}, "sk_1"},
		"X-Api-Key with spaces":                {nil, []string{" sk_1 "}, "sk_1"},
		"both":                                 {[]string{"Bearer sk_1"}, []string{"sk_1"}, "sk_1"},
		"both, in two schemes":                 {[]string{"Bearer sk_1", "Basic c2tfMTo="}, nil, "sk_1"},
		"conflicting":                          {[]string{"Bearer sk_1"}, []string{"sk_2"}, ""},
		"conflicting Authorization":            {[]string{"Bearer sk_1", "Bearer sk_2"}, nil, ""},
		"conflicting X-Api-Key":                {nil, []string{"sk_1", "sk_2"}, ""},
		"conflicting, then the same":           {[]string{"Bearer sk_1", "Bearer sk_2", "Bearer sk_1"}, nil, ""},
		"empty":                                {[]string{""}, []string{""}, ""},
		"empty Bearer":                         {[]string{"Bearer "}, nil, ""},
		"empty beside a key":                   {[]string{"Bearer "}, []string{"sk_1"}, "sk_1"},
		"a key beside an empty one":            {[]string{"Bearer sk_1"}, []string{""}, "sk_1"},
		"a key, then an empty one":             {nil, []string{"sk_1", " "}, "sk_1"},
		"base64 followed by another character": {[]string{"Basic c2tfMTpwYXNz!"}, nil, ""},
		"another scheme":                       {[]string{"Digest sk_1"}, nil, ""},
		"another scheme beside a key":          {[]string{"Digest sk_2"}, []string{"sk_1"}, "sk_1"},
		"a scheme without a space":             {[]string{"Bearersk_1"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Authorization"], r.Header["X-Api-Key"] = row.authorization, row.key
			key, ok := seawall.APIKey(r)
			require.Equal(t, row.want, key)
			require.Equal(t, row.want != "", ok)
		})
	}
}

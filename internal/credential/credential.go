// Package credential reads the API key of a request, in one way for authentication and limits.
package credential

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// APIKey returns the API key that r presents: as a Bearer token (RFC 6750, section 2.1), as the user
// of Basic authentication (RFC 7617, section 2), or in X-Api-Key. White space around it does not
// count. It is empty if there is none. If r presents two different ones, conflict is true and there
// is none: two readers might choose differently.
func APIKey(r *http.Request) (key string, conflict bool) {
	for _, header := range [...]string{"Authorization", "X-Api-Key"} {
		for _, value := range r.Header[header] {
			found := strings.TrimSpace(value)
			if header == "Authorization" {
				found = authorization(found)
			}
			switch {
			case found == "" || found == key:
			case key != "":
				return "", true
			default:
				key = found
			}
		}
	}
	return key, false
}

// authorization returns the API key in an Authorization field. It is empty if there is none.
func authorization(value string) string {
	scheme, rest, _ := strings.Cut(value, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest
	case strings.EqualFold(scheme, "Basic"):
		pair, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		user, _, _ := strings.Cut(string(pair), ":")
		return strings.TrimSpace(user)
	default:
		return ""
	}
}

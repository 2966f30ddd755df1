// Package credential reads the API key of a request. Authentication and rate limits share
// it, so that both see the same key.
package credential

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// APIKey returns the API key of r: a Bearer token (RFC 6750, section 2.1), the user of Basic
// authentication (RFC 7617, section 2), or X-Api-Key, without the white space around it. It is
// empty if there is none. If there are two different ones, it is empty too, and conflict is true.
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

// authorization returns the API key in the value of an Authorization field, or "".
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

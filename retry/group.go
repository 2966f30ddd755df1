package retry

import (
	"net/http"
	"net/url"
	"strings"
)

// Origin returns the scheme, host and port of a URL in lower case, such as
// "https://api.example.com:443". For http and https it always has a port. It is the
// default group of a request: see [Transport.Group].
func Origin(u *url.URL) string {
	host, port := splitPort(u)
	return strings.ToLower(u.Scheme) + "://" + host + port
}

// hostPort returns the host and port of a URL in lower case, as Origin does.
func hostPort(u *url.URL) string {
	host, port := splitPort(u)
	return host + port
}

// splitPort returns the host of a URL in lower case, with its port, and the port to add if
// it has none.
func splitPort(u *url.URL) (host, port string) {
	host = strings.ToLower(u.Host)
	if u.Port() != "" {
		return host, ""
	}
	host = strings.TrimSuffix(host, ":")
	switch strings.ToLower(u.Scheme) {
	case "http":
		return host, ":80"
	case "https":
		return host, ":443"
	default:
		return host, ""
	}
}

// group returns the name of the request's group, which selects its circuit, bucket and
// holds.
func (t *Transport) group(req *http.Request) string {
	if t.Group != nil {
		if name := t.Group(req); name != "" {
			return strings.Clone(name) // it may be a part of a long URL
		}
	}
	return Origin(req.URL)
}

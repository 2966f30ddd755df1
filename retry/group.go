package retry

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Origin returns the scheme, host and port of a URL in lower case, with the port spelled out, such
// as "https://api.example.com:443". It is the group of a request where [Transport.Group] names
// none.
func Origin(u *url.URL) string {
	return strings.ToLower(u.Scheme) + "://" + hostPort(u)
}

// hostPort is the host and port of a URL in lower case, with the port spelled out if it is known.
func hostPort(u *url.URL) string {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		switch strings.ToLower(u.Scheme) {
		case "http":
			port = "80"
		case "https":
			port = "443"
		default:
			return name
		}
	}
	return net.JoinHostPort(name, port)
}

// target is where a call goes.
type target struct {
	req  *http.Request
	hook func(*http.Request) string // Transport.Group
	name string                     // the group; empty while nobody has asked for it

	circuit *circuit // of the group; nil if no Breaker was asked
}

// group returns what the call's circuit, bucket and holds are kept by. It runs the hook, which may
// panic or use the Transport, the first time, so no lock is held here.
func (t *target) group() string {
	if t.name == "" && t.hook != nil {
		t.name = strings.Clone(t.hook(t.req)) // it may be a part of a whole URL
	}
	if t.name == "" {
		t.name = Origin(t.req.URL)
	}
	return t.name
}
